"""Rows of ids and the places of answers."""

import copy

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from training.data.episodes import Instance
from training.fit.chat_format import ChatFormat

INSTANCES = (Instance("wake me at seven", "set_alarm"), Instance("hi", "yes"), Instance("what now", ""))


def test_row_is_the_template_of_a_whole_conversation(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = ChatFormat(tokenizer, 100)
    batch = chat.batch(INSTANCES, [None, "Be brief.", None])
    for row, (instance, system) in enumerate(zip(INSTANCES, (None, "Be brief.", None), strict=True)):
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages += [{"role": "user", "content": instance.input}, {"role": "assistant", "content": instance.output}]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        text = tokenizer.decode(batch.ids[row])
        assert text.startswith(rendered)
        assert set(text[len(rendered) :].split("<|pad|>")) <= {""}


def test_places_predict_the_answer_with_its_end_and_nothing_else(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = ChatFormat(tokenizer, 100)
    batch = chat.batch(INSTANCES, [None] * 3)
    assert torch.equal(batch.ids[batch.rows, batch.places + 1], batch.targets)
    for row, instance in enumerate(INSTANCES):
        targets = batch.targets[batch.rows == row]
        assert tokenizer.decode(targets) == instance.output + "<|end|>"
        first = batch.places[batch.rows == row][0]
        assert batch.ids[row, first] == tokenizer.convert_tokens_to_ids("<|assistant|>")
    assert batch.count == sum(len(chat.question(i.input)) + len(chat.answer(i.output)) for i in INSTANCES)
    assert batch.ids.shape[1] % 8 == 0


def test_long_question_loses_its_beginning_and_the_answer_stays(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = ChatFormat(tokenizer, 24)
    batch = chat.batch([Instance("x" * 200 + " the end", "set_alarm")], [None])
    text = tokenizer.decode(batch.ids[0, :24])
    assert text.endswith("the end<|assistant|>set_alarm<|end|>")
    assert not text.startswith("<|bos|>")


def test_answer_takes_at_most_half_of_the_row(tokenizer: PreTrainedTokenizerFast) -> None:
    batch = ChatFormat(tokenizer, 24).batch([Instance("hi there you", "z " * 100)], [None])
    assert len(batch.targets) == 12


def test_without_a_chat_template_lines_separate(tokenizer: PreTrainedTokenizerFast) -> None:
    """Base models have none."""
    plain = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|end|>")
    chat = ChatFormat(plain, 100)
    assert plain.decode(chat.question("hi", "Be brief.")) == "Be brief.\n\nhi\n"
    assert plain.decode(chat.question("hi")) == "hi\n"


def test_system_prompt_begins_the_users_turn_where_the_template_knows_no_system_role(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    gemma = copy.deepcopy(tokenizer)
    gemma.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + str(
        tokenizer.chat_template
    )
    chat, usual = ChatFormat(gemma, 100), ChatFormat(tokenizer, 100)
    assert chat.question("hi", "Be brief.") == usual.question("Be brief.\n\nhi")
    assert chat.question("hi") == usual.question("hi")


def test_answer_ends_as_the_template_ends_a_turn(tokenizer: PreTrainedTokenizerFast) -> None:
    """Which in many families is not the end of a text; where the template ends turns with plain words, it is."""
    assert tokenizer.decode(ChatFormat(tokenizer, 100).answer("yes")) == "yes<|end|>"
    other = copy.deepcopy(tokenizer)
    other.eos_token = "<|bos|>"
    assert other.decode(ChatFormat(other, 100).answer("yes")) == "yes<|end|>"
    words = copy.deepcopy(other)
    words.chat_template = "{% for message in messages %}{{ message['content'] }} over. {% endfor %}"
    assert words.decode(ChatFormat(words, 100).answer("yes")) == "yes<|bos|>"


@pytest.mark.parametrize("multiple", [1, 8])
def test_rows_are_as_long_as_the_longest(tokenizer: PreTrainedTokenizerFast, multiple: int) -> None:
    chat = ChatFormat(tokenizer, 100)
    longest = max(len(chat.question(i.input)) + len(chat.answer(i.output)) for i in INSTANCES)
    batch = chat.batch(INSTANCES, [None] * 3, multiple)
    assert batch.ids.shape == (3, -(-longest // multiple) * multiple)
