"""Sets of numbers, letters and codes."""

import pytest

from cloud_service.answer.stated.answer_words import MOST_MATCHES
from cloud_service.answer.stated.numbers_and_letters import numbered_sets


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Classify: 0 = negative, 1 = positive.", ("0", "1")),
        ("Which is it? (a) cat (b) dog (c) bird. Give the letter of the answer.", ("a", "b", "c")),
        ("Rate it on a scale from 1 to 4.", ("1", "2", "3", "4")),
        ("Score of 0 to 1; a rating between 2 and 4", ("2", "3", "4")),
    ],
)
def test_numbers_letters_and_codes_make_a_set(text: str, members: tuple[str, ...]) -> None:
    assert next(numbered_sets(text)) == members


def test_no_more_than_a_bounded_number_of_sets_is_found() -> None:
    many = "".join(f"Labels: {n} = good, {n + 1} = bad. " for n in range(5 * MOST_MATCHES))
    assert len(list(numbered_sets(many))) == MOST_MATCHES


@pytest.mark.parametrize(
    "text",
    [
        "Rate it on a scale from 1 to 100.",
        "Rate it on a scale from 1 to 5 in steps of 0.5.",
        "Rate the review from 1 to 5.",
        "Count from 1 to 5.",
        "(a) read it (b) answer it",
    ],
)
def test_other_numbers_and_letters_make_none(text: str) -> None:
    assert not list(numbered_sets(text))
