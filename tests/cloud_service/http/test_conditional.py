"""The rules of negotiation and ranges, for any header whatever."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_service.errors import InvalidRequestError, NotAcceptableError, PreconditionError, RangeError
from cloud_service.http.conditional import (
    change_condition,
    choose_media_type,
    is_known,
    prefers_async,
    select_range,
    verify_match,
)

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


@pytest.mark.parametrize(
    ("prefer", "is_preferred"),
    [
        (["respond-async"], True),
        (["wait=10, Respond-Async"], True),
        (["return=minimal", "respond-async; foo=bar"], True),
        (["respond-asynchronously"], False),
        (["wait=10"], False),
        ([], False),
    ],
)
def test_preference_for_a_job_may_stand_among_others(prefer: list[str], is_preferred: bool) -> None:
    assert prefers_async(prefer) is is_preferred


def test_unit_of_a_range_may_be_in_any_case() -> None:
    assert select_range("Bytes=1-2", None, '"tag"', 10) == (1, 3)


@given(st.text())
def test_range_needs_the_entity_tag_that_it_was_begun_with(if_range: str) -> None:
    expected = (0, 1) if if_range.strip() == '"tag"' else None
    assert select_range("bytes=0-0", if_range, '"tag"', 10) == expected


@given(st.text())
def test_any_if_none_match_is_read(header: str) -> None:
    assert is_known('"tag"', header) in (True, False)
    if header.count('"') % 2 == 0:
        assert is_known('"tag"', header + ', "tag"')


@pytest.mark.parametrize("header", ["*", ' "tag"', 'W/"tag"', '"other","tag"', '"a,b", W/"tag" , "c"'])
def test_if_none_match_is_weak_takes_lists_and_any(header: str) -> None:
    assert is_known('"tag"', header)


@pytest.mark.parametrize("header", ['"other"', 'W/"other", "tags"', "tag", ""])
def test_if_none_match_of_others_is_not_known(header: str) -> None:
    assert not is_known('"tag"', header)


@pytest.mark.parametrize("header", [None, "*", '"tag"', '"other", "tag"'])
def test_if_match_that_names_the_representation_holds(header: str | None) -> None:
    verify_match('"tag"', header)


@pytest.mark.parametrize("header", ['"other"', 'W/"tag"', '"a", "b"'])
def test_if_match_that_names_others_or_a_weak_tag_fails(header: str) -> None:
    with pytest.raises(PreconditionError):
        verify_match('"tag"', header)


@pytest.mark.parametrize("header", ["tag", "", '"a', '"a" "b"', '*, "a"', "W/tag"])
def test_header_without_entity_tags_is_invalid(header: str) -> None:
    with pytest.raises(InvalidRequestError, match="entity tags in double quotes"):
        verify_match('"tag"', header)


@pytest.mark.parametrize(
    ("if_match", "if_none_match", "name_exists", "expected"),
    [
        (None, None, True, True),
        ("*", None, True, True),
        ("*", None, False, False),
        ('"old", "tag"', None, False, True),
        ('"old"', None, True, False),
        ('W/"tag"', None, True, False),
        (None, "*", False, True),
        (None, "*", True, False),
        (None, '"old", W/"tag"', False, False),
        (None, '"old"', True, True),
        ('"tag"', "*", True, False),
    ],
)
def test_change_is_made_when_both_headers_allow_it(
    if_match: str | None, if_none_match: str | None, name_exists: bool, expected: bool
) -> None:
    assert change_condition(if_match, if_none_match)("tag", name_exists) is expected


@given(st.text())
def test_any_if_match_is_a_condition_or_invalid(header: str) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert change_condition(header, header)("tag", True) in (True, False)
