"""What of a task a generator keeps in front of each input."""

import pytest

from cloud_service.generator.residual_prompt import residual_prompt
from loragen.contract.limits import MAX_RESIDUAL_PROMPT_BYTES
from tests.cloud_service.generator.tiny import tokenizer

TEXT = "route the message to a tool"


def test_text_of_at_most_so_many_tokens_is_kept_whole() -> None:
    """One token for each word that the tokenizer knows; special tokens are not counted."""
    words = tokenizer(TEXT, bos_token="<s>")
    tokens = len(words(TEXT, add_special_tokens=False)["input_ids"])
    assert 0 < tokens < len(TEXT)
    for longest in (tokens, 400):
        assert residual_prompt([TEXT], words, longest) == (TEXT, tokens)
    for longest in (tokens - 1, 1, 0):
        assert residual_prompt([TEXT], words, longest) == ("", 0), "and not half of it"


@pytest.mark.parametrize("text", ["", "a\0b", "é" * (MAX_RESIDUAL_PROMPT_BYTES // 2 + 1)])
def test_text_that_no_recipe_can_hold_is_not_kept(text: str) -> None:
    assert residual_prompt([text], tokenizer(), 100_000) == ("", 0)
    assert residual_prompt([text, TEXT], tokenizer(), 100_000)[0] == TEXT


def test_first_text_that_fits_is_kept() -> None:
    words = tokenizer(TEXT, bos_token="<s>")
    texts = [f"{TEXT} {TEXT} {TEXT}", f"{TEXT} {TEXT}", TEXT]
    one, two = (len(words(text, add_special_tokens=False)["input_ids"]) for text in (TEXT, texts[1]))
    assert residual_prompt(texts, words, two) == (texts[1], two)
    assert residual_prompt(texts, words, two - 1) == (TEXT, one)
    assert residual_prompt(texts, words, one - 1) == ("", 0)
    assert residual_prompt([], words, 400) == ("", 0)
