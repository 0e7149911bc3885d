"""Headers as bytes."""

import pytest
from starlette.types import Message

from loragen.web.headers import find_header, put_headers


@pytest.mark.parametrize(("name", "found"), [(b"a", "1"), (b"b", "\xe9"), (b"c", None)])
def test_first_header_of_a_name_is_found(name: bytes, found: str | None) -> None:
    assert find_header({"headers": [(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")]}, name) == found


def test_headers_are_set_and_others_added_where_they_are_missing() -> None:
    message: Message = {"headers": [(b"id", b"old"), (b"policy", b"own"), (b"id", b"older")]}
    put_headers(message, {b"id": b"new"}, {b"policy": b"default", b"more": b"1"})
    assert sorted(message["headers"]) == [(b"id", b"new"), (b"more", b"1"), (b"policy", b"own")]


def test_answer_without_headers_gets_them() -> None:
    message: Message = {}
    put_headers(message, {b"id": b"1"}, {b"more": b"2"})
    assert message["headers"] == [(b"more", b"2"), (b"id", b"1")]
