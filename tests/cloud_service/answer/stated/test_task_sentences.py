"""Which sentence of a description asks for the answer."""

import pytest

from cloud_service.answer.stated.task_sentences import (
    LONGEST_SENTENCE,
    MOST_SENTENCES,
    Request,
    is_brief_format,
    requests_of,
)


def test_sentence_may_ask_when_no_other_does() -> None:
    expected = Request("Is it spam", is_question=True, is_last=True, is_whole=False)
    assert requests_of("You read mails. Is it spam?") == [expected]
    assert not requests_of("Is it spam? Answer with one word.")[0].is_last


def test_no_sentence_asks_alone_when_two_ask() -> None:
    assert requests_of("Is it spam? Who wrote it?") == []
    assert requests_of("Translate the mail. Write a reply.") == []


def test_long_sentences_and_long_texts_are_not_read() -> None:
    assert requests_of("a" * (LONGEST_SENTENCE + 1)) == []
    assert requests_of("It is. " * (MOST_SENTENCES + 1)) == []


@pytest.mark.parametrize("output_format", ["", "One word.", "the label, nothing else", "no explanation"])
def test_brief_format_leaves_room_for_a_label(output_format: str) -> None:
    assert is_brief_format(output_format)


@pytest.mark.parametrize("output_format", ["one sentence", "only a JSON object", "the label and a reason", "in German"])
def test_other_format_does_not(output_format: str) -> None:
    assert not is_brief_format(output_format)
