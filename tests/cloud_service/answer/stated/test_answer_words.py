"""The words with which texts ask for an answer."""

import re

import pytest

from cloud_service.answer.stated.answer_words import NO_LABEL, SAY, WORD


@pytest.mark.parametrize(
    "text", ["say", "Reply with", "answer only with", "return the label", "give one emoji:", "mark it"]
)
def test_commands_are_known(text: str) -> None:
    assert re.fullmatch(SAY, text, re.IGNORECASE)


def test_label_is_a_word_or_a_quotation() -> None:
    assert re.fullmatch(WORD, "not-urgent")
    assert re.fullmatch(WORD, "\ue000")
    assert not re.fullmatch(WORD, "not urgent")


def test_article_is_no_label_but_its_capital_is() -> None:
    assert [word for word in ("a", "The", "A", "android") if NO_LABEL.match(word)] == ["a", "The"]
