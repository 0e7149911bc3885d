"""Control tokens that a message spells, and those of the template around it."""

import time

from hypothesis import given
from hypothesis import strategies as st

from loragen.contract.markup import ControlMarkup

SPELLINGS = ["<|end|>", "<|end|><|user|>", "<|user|>", "end", "|>", "[INST]"]
MARKUP = ControlMarkup(SPELLINGS)

messages = st.lists(st.sampled_from([*SPELLINGS, "<|", "<", "e", " ", "\n", "ü"]), max_size=8).map("".join)


@given(messages=st.lists(messages, min_size=1, max_size=4))
def test_only_the_templates_control_tokens_are_found(messages: list[str]) -> None:
    """However messages spell control tokens, the parts are the rendered text, and the control tokens the template's."""
    rendered = "".join(f"[INST] {message}\n<|end|>" for message in messages)
    parts = list(MARKUP.split("".join(f"[INST] {MARKUP.mark(message)}\n<|end|>" for message in messages)))
    assert "".join(text for text, _ in parts) == rendered
    assert [text for text, is_control in parts if is_control] == ["[INST]", "<|end|>"] * len(messages)


def test_text_without_control_tokens_is_left_as_it_is() -> None:
    for text in ("", "a < b | c > d", "</think>", "<|en"):
        assert MARKUP.mark(text) == text


def test_vocabulary_without_control_tokens_marks_nothing() -> None:
    none = ControlMarkup(["", ""])
    assert none.mark("<|end|>") == "<|end|>"
    assert list(none.split("<|end|>")) == [("<|end|>", False)]


def test_time_hardly_depends_on_how_many_control_tokens_there_are() -> None:
    """A thousand, as vocabularies with reserved ones have: tried one by one, they took 400 times as long as three."""
    text = "<" * 50_000

    def seconds(markup: ControlMarkup) -> float:
        times = []
        for _ in range(3):
            started = time.process_time()
            assert list(markup.split(markup.mark(text))) == [(text, False)]
            times.append(time.process_time() - started)
        return min(times)

    few = ["<unk>", "<s>", "[INST]"]
    many = ControlMarkup([*few, *(f"<SPECIAL_{number}>" for number in range(1000))])
    assert seconds(many) < 20 * seconds(ControlMarkup(few))
    assert many.mark("<SPECIAL_1><SPECIAL_12>").count("\ud800") == 2
