"""Questions and answers in the chat format of an edge model."""

import pytest
from transformers import PreTrainedTokenizerFast

from cloud_service.generator.chat_format import answer_ids, end_of_answer, question_ids
from tests.cloud_service.generator.tiny import tokenizer

CHATML = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
WITHOUT_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML


def _tokenizer(template: str | None, end: str = "</s>") -> PreTrainedTokenizerFast:
    made = tokenizer("hello")
    made.chat_template = template
    made.eos_token = end
    return made


@pytest.mark.parametrize(
    ("template", "system", "expected"),
    [
        (None, None, "hi\n"),
        (None, "Be brief.", "Be brief.\n\nhi\n"),
        (CHATML, None, "<|user|>hi</s><|assistant|>"),
        (CHATML, "Be brief.", "<|system|>Be brief.</s><|user|>hi</s><|assistant|>"),
        (WITHOUT_SYSTEM, "Be brief.", "<|user|>Be brief.\n\nhi</s><|assistant|>"),
    ],
)
def test_question_is_everything_before_the_answer(template: str | None, system: str | None, expected: str) -> None:
    made = _tokenizer(template)
    assert made.decode(question_ids(made, "hi", system)) == expected


def test_answer_has_its_end_and_no_space_in_front() -> None:
    made = _tokenizer(CHATML)
    assert made.decode(answer_ids(made, "yes")) == "yes</s>"


def test_end_of_an_answer_is_what_closes_the_message() -> None:
    """Here another token than the end of a text; a template that closes with plain words leaves the latter."""
    assert end_of_answer(_tokenizer(CHATML, end="<s>")) == _tokenizer(CHATML).convert_tokens_to_ids("</s>")
    words = _tokenizer("{% for message in messages %}{{ message['content'] }} over. {% endfor %}")
    assert end_of_answer(words) == words.eos_token_id
