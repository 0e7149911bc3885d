"""Sets that are stated case by case."""

import pytest

from cloud_service.answer.announcements import MOST_MATCHES
from cloud_service.answer.answer_cases import case_sets


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("Answer A for agree, B for disagree, C for neutral.", ("A", "B", "C")),
        ("Return 1 for spam and 0 for ham.", ("1", "0")),
        ("If it is long, say cut; otherwise say keep.", ("cut", "keep")),
        ("Classify: 0 = negative, 1 = positive.", ("0", "1")),
        ("Which is it? (a) cat (b) dog (c) bird. Give the letter of the answer.", ("a", "b", "c")),
        ("Rate it on a scale from 1 to 4.", ("1", "2", "3", "4")),
        ("Score of 0 to 1; a rating between 2 and 4", ("2", "3", "4")),
        ("Up to 3 -> S, up to 9 -> M, more -> L.", ("S", "M", "L")),
    ],
)
def test_cases_make_a_set(text: str, members: tuple[str, ...]) -> None:
    assert next(case_sets(text)) == members


def test_each_set_is_found_once_and_no_more_than_a_bounded_number() -> None:
    assert list(case_sets("Say aa if it is long, else bb. " * 3)) == [("aa", "bb")]
    many = "".join(f"say a{n} if long, else b{n}. " for n in range(5 * MOST_MATCHES))
    assert len(list(case_sets(many))) == MOST_MATCHES


@pytest.mark.parametrize(
    "text",
    [
        "Rate it on a scale from 1 to 100.",
        "Rate it on a scale from 1 to 5 in steps of 0.5.",
        "Rate the review from 1 to 5.",
        "Count from 1 to 5.",
        "(a) read it (b) answer it",
        "Return the year, or none if there is no year.",
        "Use A when it is about food. Use B when it is about something else in the text.",
    ],
)
def test_other_cases_make_none(text: str) -> None:
    assert not list(case_sets(text))
