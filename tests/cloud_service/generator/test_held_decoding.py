"""Whether greedy decoding gives an answer that is held to a contract."""

import time

import pytest
import regex
import torch

from cloud_service.answer.written_answers import answer_pattern
from cloud_service.generator.chat_format import answer_ids
from cloud_service.generator.held_decoding import HeldDecoding
from loragen.contract.answer import AnswerContract, contract_of
from tests.cloud_service.generator.tiny import tokenizer

SCHEMA = {
    "type": "object",
    "properties": {"size": {"enum": ["small", "large"]}, "note": {"type": "string"}},
    "required": ["size"],
}
HELD = contract_of({"type": "json", "schema": SCHEMA})


def gives(text: str, contract: AnswerContract, rather: dict[int, str] | None = None, end_at: int | None = None) -> bool:
    """Whether a text is given by a model that at some places would rather write the beginning of another one."""
    words, pattern = tokenizer(), answer_pattern(contract)
    assert pattern is not None
    ids = answer_ids(words, text)
    logits = torch.zeros(len(ids), len(words))
    logits[range(len(ids)), ids] = 1
    for place, other in (rather or {}).items():
        logits[place, answer_ids(words, other)[0]] = 2
    if end_at is not None:
        logits[end_at, words.eos_token_id] = 2
    return HeldDecoding(words).gives(text, logits, pattern)


def place_of(text: str, part: str) -> int:
    """The number of the token that a part of a text begins with."""
    return len(answer_ids(tokenizer(), text[: text.index(part)])) - 1


SMALL = '{"size": "small"}'


def test_token_that_no_answer_has_there_does_not_count() -> None:
    assert gives(SMALL, HELD)
    assert gives(SMALL, HELD, {0: "x"})
    assert gives(SMALL, HELD, {place_of(SMALL, "small"): "x"})
    assert gives(SMALL, HELD, end_at=0), "it may not end before it began"


def test_token_of_another_answer_counts() -> None:
    assert not gives(SMALL, HELD, {place_of(SMALL, "small"): "l"})
    assert not gives(SMALL, HELD, {place_of(SMALL, "}"): ","}), "a note may follow"
    noted = '{"size": "small", "note": "ab"}'
    assert gives(noted, HELD)
    assert not gives(noted, HELD, {place_of(noted, "ab"): "x"})


def test_same_text_in_other_tokens_is_the_same_answer() -> None:
    words = tokenizer()
    word = max((text for text in words.get_vocab() if text.isascii() and text.isalpha()), key=len)
    ids = answer_ids(words, word)
    assert len(ids) == 2, "one token and the end"
    logits = torch.zeros(2, len(words))
    logits[range(2), ids] = 1
    logits[0, words.convert_tokens_to_ids(word[0])] = 2
    pattern = answer_pattern(AnswerContract("choice", (word, "zz")))
    assert pattern is not None
    assert HeldDecoding(words).gives(word, logits, pattern)
    logits[0, words.convert_tokens_to_ids("z")] = 3
    assert not HeldDecoding(words).gives(word, logits, pattern)


def test_end_counts_where_an_answer_may_end() -> None:
    choice = AnswerContract("choice", ("go", "gone"))
    assert gives("gone", choice)
    assert not gives("gone", choice, end_at=place_of("gone", "ne"))
    assert gives("gone", choice, {len(answer_ids(tokenizer(), "gone")) - 1: "x"}), "nothing may follow"
    assert not gives("go", choice, {len(answer_ids(tokenizer(), "go")) - 1: "n"})


def test_text_that_a_device_cannot_write_is_never_given() -> None:
    for text in ('{"size": "medium"}', '{"size":"small"}', "small", '{"note": "x"}'):
        assert not gives(text, HELD)


@pytest.mark.parametrize("letter", ["é", "\N{GRINNING FACE}"])
def test_letter_of_several_tokens_is_given_when_the_model_wants_no_other(letter: str) -> None:
    text = f'{{"size": "large", "note": "{letter}"}}'
    assert gives(text, HELD)
    assert not gives(text, HELD, {place_of(text, letter): "x"})


def test_pattern_that_takes_for_ever_gives_nothing_and_ends() -> None:
    words, text = tokenizer(), "a" * 40 + "b"
    ids = answer_ids(words, text)
    logits = torch.zeros(len(ids), len(words))
    began = time.monotonic()
    assert not HeldDecoding(words).gives(text, logits, regex.compile("(?:(?:a|a)+)+c"))
    assert time.monotonic() - began < 5
