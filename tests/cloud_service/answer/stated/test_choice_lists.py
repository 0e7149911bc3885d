"""What the items of a list are."""

import pytest

from cloud_service.answer.stated.choice_lists import (
    MOST_LABELS,
    ListStyle,
    Reading,
    first_sentence,
    is_function_word,
    read_list,
    split_question,
    without_capital,
    without_common_tail,
)

NARROW, WIDE = ListStyle(commas=True), ListStyle(commas=True, last_and=True, wide=True, any_first=True)


def _sure(text: str, style: ListStyle) -> tuple[str, ...]:
    return next((reading.items for reading in read_list(text, style) if reading.is_sure), ())


def test_list_with_two_conjunctions_in_its_end_is_not_sure() -> None:
    assert list(read_list("a, b or c or d", NARROW)) == [
        Reading(("a", "b", "c or d"), False),
        Reading(("a", "b or c", "d"), False),
    ]
    assert _sure("a or b or c", NARROW) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("has an error, correct", ("has an error", "correct")),
        ("in the open air, in a building", ("in the open air", "in a building")),
        ("bad for a picnic, good for a picnic", ("bad for a picnic", "good for a picnic")),
        ("spam and ham", ("spam", "ham")),
        ("yes, no, depending on the text", ("yes", "no")),
        ("low | not so low | high", ("low", "not so low", "high")),
        ("yes, no, N/A", ("yes", "no", "N/A")),
        ("red, blue, and so on", ()),
        ("red, such as scarlet, blue", ()),
        ("red", ()),
        ("red, red", ()),
        (", ".join(map(str, range(MOST_LABELS + 1))), ()),
        ("one, a label of more than six words there", ()),
        ("attachment, none", ("attachment", "none")),
        ("man with a hat, man with a dog", ("man with a hat", "man with a dog")),
        ("yes, no with the reason", ()),
        ("yes, no plus the reason", ()),
        ("yes, no as well", ()),
        ("fix, fix it", ()),
        ("spam or ham, and why", ()),
    ],
)
def test_labels_after_plain_words_may_be_long(text: str, items: tuple[str, ...]) -> None:
    assert _sure(text, WIDE) == items


def test_labels_after_vague_words_are_short_and_begin_with_no_function_word() -> None:
    assert _sure("very good, not bad", NARROW) == ("very good", "not bad")
    assert _sure("in the open air, inside", NARROW) == ()
    assert _sure("one two three four, five", NARROW) == ()


def test_first_label_may_be_held_to_more_than_the_others() -> None:
    style = ListStyle(wide=True)
    assert _sure("done or to be continued", style) == ("done", "to be continued")
    assert _sure("they agree or they do not agree", style) == ("they agree", "they do not agree")
    assert _sure("in English or German", style) == ()
    assert _sure("thanks or an apology", style) == ()
    assert _sure("name or null", style) == ()
    assert _sure("\ue000 or null", style) == ("\ue000", "null")
    assert _sure("wrong, and mended", style) == ()


def test_sentence_ends_at_its_point_or_its_bracket() -> None:
    assert first_sentence("a (x, y), b. Then c") == ("a, b", ".")
    assert first_sentence("[a, b] and c") == ("a, b", "")
    assert first_sentence("(a, b and c") == ("", "")


def test_labels_of_a_question_have_equally_many_words() -> None:
    assert split_question(" remark good or bad") == ("good", "bad")
    assert split_question(" house blue or very dark green") == ()


def test_function_words_are_known() -> None:
    assert is_function_word("the")
    assert not is_function_word("spam")


def test_noun_behind_the_last_label_for_all_is_none_of_it() -> None:
    assert without_common_tail(("high", "low priority")) == ("high", "low")
    assert without_common_tail(("good", "bad review")) == ("good", "bad")
    for items in (("question", "feature request"), ("good service", "bad service"), ("high priority", "low priority")):
        assert without_common_tail(items) == items


def test_capital_of_a_sentence_is_none_of_its_first_label() -> None:
    assert without_capital(("Good", "bad")) == ("good", "bad")
    assert without_capital(("Good", "Bad")) == ("Good", "Bad")
    assert without_capital(("HR", "sales")) == ("HR", "sales")


def test_abbreviation_in_capitals_is_no_function_word() -> None:
    assert _sure("HR, IT or US", ListStyle()) == ("HR", "IT", "US")
