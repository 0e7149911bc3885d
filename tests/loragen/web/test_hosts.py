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


EVERYWHERE = AllowedHosts.of("0.0.0.0", ["console.example.com"])


@pytest.mark.parametrize(
    ("origin", "asked", "is_tls"),
    [
        ("http://192.168.1.10:8090", "192.168.1.10:8090", False),
        ("http://Kitchen.local:8090", "kitchen.LOCAL:8090", False),
        ("http://[fe80::1]:8090", "[fe80::1]:8090", False),
        ("http://localhost:8090", "localhost:8090", False),
        ("http://192.168.1.10", "192.168.1.10:80", False),
        ("https://192.168.1.10", "192.168.1.10", True),
        ("https://192.168.1.10", "192.168.1.10", False),  # behind a proxy that ends TLS
        ("https://console.example.com", "192.168.1.10:8090", False),
        ("https://console.example.com", None, False),
    ],
)
def test_page_of_the_host_that_is_asked_or_of_a_named_one_is_admitted(
    origin: str, asked: str | None, is_tls: bool
) -> None:
    assert EVERYWHERE.admits(origin, asked, is_tls)


@pytest.mark.parametrize(
    ("origin", "asked", "is_tls"),
    [
        ("http://192.168.1.66", "192.168.1.10:8090", False),  # a page of a neighbour on the same network
        ("http://203.0.113.5:8090", "192.168.1.10:8090", False),  # one of the internet, by its address
        ("http://192.168.1.10:3000", "192.168.1.10:8090", False),  # of another program on the device
        ("http://192.168.1.10", "192.168.1.10:8090", False),
        ("http://localhost:3000", "localhost:8090", False),
        ("http://localhost:8090", "127.0.0.1:8090", False),
        ("http://127.0.0.1", "192.168.1.10:8090", False),
        ("http://192.168.1.10", "192.168.1.10", True),  # one that somebody on the way may have written
        ("http://192.168.1.10:443", "192.168.1.10", False),
        ("ftp://192.168.1.10", "192.168.1.10", False),
        ("null", "null", False),
        ("", "", False),
        ("http://", "", False),
        ("192.168.1.10", "192.168.1.10", False),
        ("http://192.168.1.10/", "192.168.1.10/", False),
        ("http://192.168.1.10", None, False),
    ],
)
def test_no_other_page_is_admitted(origin: str, asked: str | None, is_tls: bool) -> None:
    assert not EVERYWHERE.admits(origin, asked, is_tls)


def test_hosts_are_said_as_they_were_set() -> None:
    assert str(EVERYWHERE) == "every address of this machine, console.example.com"
    assert str(AllowedHosts.of("10.0.0.1", ["cloud"])) == "loopback, 10.0.0.1, cloud"
    assert str(LOOPBACK) == "loopback"


@given(st.text())
def test_any_header_is_included_or_not(authority: str) -> None:
    hosts = AllowedHosts.of("0.0.0.0", ["*.example.com"])
    assert hosts.includes(authority) in (True, False)
    assert hosts.admits(authority, authority, False) in (True, False)


@pytest.mark.parametrize("pattern", ["http://a", "a:80", "", "*a", "a b", "**", "*."])
def test_pattern_that_no_host_can_have_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="expected a host"):
        verify_pattern(pattern)
