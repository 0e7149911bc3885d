"""What a pattern, a format and a length of one text say together, and how that is written."""

from typing import Any

import pytest

from loragen.contract.errors import FormatError
from loragen.contract.schema_texts import is_plain, lengths_of_format, size_of_texts, takes_text, written_texts
from loragen.contract.text_pattern import Characters, InOrder, Repeated

LOWER = Characters(((0x61, 0x7A),))


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        ({"minLength": 2}, ["ab"], ["a"]),
        ({"pattern": "^a+$", "maxLength": 3}, ["a", "aaa"], ["", "aaaa", "b"]),
        ({"format": "date"}, ["2026-02-28"], ["2026-02-29", "today"]),
        ({"format": "email", "pattern": "example.com$"}, ["a@example.com"], ["example.com", "a@b.com"]),
        ({"pattern": "^(?=.*1)(?!x)[a-z1]+$"}, ["a1", "1"], ["a", "x1", "A1"]),
    ],
)
def test_text_is_of_all_that_a_schema_says(schema: dict[str, Any], taken: list[str], refused: list[str]) -> None:
    assert [text for text in (*taken, *refused) if takes_text(schema, text)] == taken


def test_pattern_that_says_its_length_is_written_as_its_parts() -> None:
    assert written_texts({"pattern": "^[a-z]+$", "maxLength": 9}) == InOrder((Repeated(LOWER, 1, 9),))
    assert written_texts({"pattern": "^[a-z]+$"}) == Repeated(LOWER, 1, None)


@pytest.mark.parametrize("schema", [{"format": "email"}, {"format": "email", "maxLength": 254}])
def test_format_is_written_as_its_parts_where_its_length_follows(schema: dict[str, Any]) -> None:
    assert written_texts(schema) == written_texts({"format": "email"})
    assert not isinstance(written_texts(schema), tuple)
    assert size_of_texts(schema) == 1


def test_what_no_parts_say_is_written_as_states() -> None:
    for schema in ({"format": "email", "maxLength": 50}, {"format": "uri", "pattern": "^https"}, {"pattern": "^(?=a)"}):
        written = written_texts(schema)
        assert isinstance(written, tuple)
        assert size_of_texts(schema) >= len(written) > 1


def test_text_that_cannot_be_is_refused() -> None:
    with pytest.raises(FormatError, match="found none"):
        written_texts({"pattern": "^[0-9]+$", "format": "email"})


def test_plain_text_and_length_of_a_format() -> None:
    assert is_plain({"type": "string", "maxLength": 3})
    assert not is_plain({"format": "date"})
    assert lengths_of_format("date") == (10, 10)
    assert lengths_of_format("email")[1] is None
