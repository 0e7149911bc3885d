"""The rules of negotiation and ranges, for any header whatever."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.errors import NotAcceptableError, RangeError
from cloud_service.http.conditional import choose_media_type, is_known, select_range

JSON, OCTETS = "application/json", "application/octet-stream"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("APPLICATION/OCTET-STREAM", OCTETS),
        ("application/octet-stream;q=0.9, */*;q=0.1", OCTETS),
        ("application/json;q=0, */*", OCTETS),
        ("text/html, application/json;q=0.001", JSON),
        ("application/octet-stream; level=1; q=0.5", OCTETS),
        ("application/json;q=nonsense", JSON),
    ],
)
def test_best_liked_type_is_chosen(accept: str | None, chosen: str) -> None:
    assert choose_media_type(accept, (JSON, OCTETS)) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "*/*;q=0", "application", ",", "image/*"])
def test_type_that_nobody_offers_is_refused(accept: str) -> None:
    with pytest.raises(NotAcceptableError):
        choose_media_type(accept, (JSON,))


@given(st.text())
def test_any_accept_header_is_answered_or_refused(accept: str) -> None:
    with contextlib.suppress(NotAcceptableError):
        assert choose_media_type(accept, (JSON, OCTETS)) in (JSON, OCTETS)


@given(st.text(), st.integers(1, 10**12))
def test_any_range_header_selects_bytes_that_exist(header: str, size: int) -> None:
    _verify_range(header, size)


@given(st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True), st.integers(1, 10**12))
def test_any_byte_range_selects_bytes_that_exist(header: str, size: int) -> None:
    _verify_range(header, size)


def _verify_range(header: str, size: int) -> None:
    with contextlib.suppress(RangeError):
        span = select_range(header, None, '"tag"', size)
        assert span is None or 0 <= span[0] < span[1] <= size


@given(st.text())
def test_range_needs_the_entity_tag_that_it_was_begun_with(if_range: str) -> None:
    expected = (0, 1) if if_range.strip() == '"tag"' else None
    assert select_range("bytes=0-0", if_range, '"tag"', 10) == expected


@given(st.text())
def test_any_if_none_match_is_read(header: str) -> None:
    assert is_known('"tag"', header) in (True, False)
    assert is_known('"tag"', header + ', "tag"')
