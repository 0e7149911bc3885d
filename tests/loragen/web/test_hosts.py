"""Whom a service answers for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.web.hosts import LOOPBACK, AllowedHosts, verify_pattern


@pytest.mark.parametrize(
    "authority",
    ["localhost", "LOCALHOST:8080", "app.localhost", "127.0.0.1:8080", "127.9.9.9", "[::1]:80", "localhost."],
)
def test_loopback_is_always_ours(authority: str) -> None:
    assert LOOPBACK.includes(authority)


@pytest.mark.parametrize(
    "authority",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:127", "10.0.0.1", "", "[::2]",
     "localhost:80:80", "localhost/", "a@localhost", "evil.example#localhost", " localhost", "localhost\n", "null"],
)  # fmt: skip
def test_anything_else_is_not(authority: str) -> None:
    assert not LOOPBACK.includes(authority)


@pytest.mark.parametrize(
    ("bound", "more", "authority", "expected"),
    [
        ("10.0.0.1", [], "10.0.0.1:8080", True),
        ("10.0.0.1", [], "10.0.0.2:8080", False),
        ("kitchen.lan", [], "Kitchen.LAN", True),
        ("0.0.0.0", [], "10.0.0.2:8080", True),
        ("::", [], "[fe80::1]:8080", True),
        ("0.0.0.0", [], "evil.example", False),
        ("0.0.0.0", ["cloud"], "cloud:8080", True),
        ("0.0.0.0", ["*.example.com"], "a.b.example.com", True),
        ("0.0.0.0", ["*.example.com"], "example.com", False),
        ("0.0.0.0", ["*.example.com"], "evilexample.com", False),
        ("127.0.0.1", ["[fe80::1]"], "[fe80::1]:80", True),
        ("127.0.0.1", ["*"], "evil.example", True),
    ],
)
def test_bound_address_and_named_hosts_are_ours(bound: str, more: list[str], authority: str, expected: bool) -> None:
    assert AllowedHosts.of(bound, more).includes(authority) is expected


@given(st.text())
def test_any_header_is_included_or_not(authority: str) -> None:
    assert AllowedHosts.of("0.0.0.0", ["*.example.com"]).includes(authority) in (True, False)


@pytest.mark.parametrize("pattern", ["http://a", "a:80", "", "*a", "a b", "**", "*."])
def test_pattern_that_no_host_can_have_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a host"):
        verify_pattern(pattern)
