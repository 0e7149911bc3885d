"""Which words are labels of one scale."""

import pytest

from cloud_service.answer.stated.opposites import are_opposites, is_polar, negated_end


@pytest.mark.parametrize(
    "items",
    [
        ("low", "high"),
        ("very good", "bad"),
        ("happy", "unhappy"),
        ("vegan", "not vegan"),
        ("agree", "neither", "disagree"),
        ("outdoor", "indoor"),
    ],
)
def test_labels_of_one_scale_are_known(items: tuple[str, ...]) -> None:
    assert are_opposites(items)


@pytest.mark.parametrize(
    "items", [("low",), ("low", "angry"), ("low", "name"), ("other", "none"), ("city", "country"), ("low", "very low")]
)
def test_other_words_are_not(items: tuple[str, ...]) -> None:
    assert not are_opposites(items)


def test_negation_shows_which_words_before_it_are_the_label() -> None:
    assert negated_end("comment rather urgent", "not urgent") == "urgent"
    assert negated_end("comment rather urgent", "not late") == ""
    assert negated_end("urgent", "late") == ""


def test_pairs_like_yes_and_no_are_known_in_both_orders() -> None:
    assert is_polar(("NO", "yes"))
    assert not is_polar(("yes", "maybe"))
