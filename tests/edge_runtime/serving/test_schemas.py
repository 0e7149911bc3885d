"""What the bodies of requests may say."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion import ChatPrompt
from edge_runtime.serving.engine import ChatMessage
from edge_runtime.serving.schemas import MAX_FIELDS, MAX_PARTS, ChatCompletionBody, CompletionBody

HI = {"role": "user", "content": "hi"}


def parse(message: str) -> ChatCompletionBody:
    """The body of a request with one message."""
    return ChatCompletionBody.model_validate(json.loads(f'{{"model": "base", "messages": [{message}]}}'))


def test_answer_sent_back_as_clients_keep_it_is_taken() -> None:
    """With the fields that OpenAI's client adds to each answer, all of them empty."""
    empty: dict[str, Any] = {"refusal": None, "tool_calls": None, "function_call": None, "annotations": []}
    request = parse(json.dumps({"role": "assistant", "content": "yes", "name": "bot", **empty})).to_request()
    assert request.prompt == ChatPrompt((ChatMessage("assistant", "yes"),))


def test_closed_set_of_answers_reaches_the_sampling() -> None:
    body = parse('{"role": "user", "content": "hi"}').model_dump() | {"structured_outputs": {"choice": ["a", "b c"]}}
    assert ChatCompletionBody.model_validate(body).to_request().sampling.choices == ("a", "b c")


def test_contract_counts_unless_the_request_says_otherwise() -> None:
    body = {"model": "base", "messages": [HI]}
    plain = ChatCompletionBody.model_validate(body).to_request()
    assert (plain.constrain, plain.choice_probabilities) == (True, False)
    asked = ChatCompletionBody.model_validate(body | {"constrain": False, "choice_probabilities": True}).to_request()
    assert (asked.constrain, asked.choice_probabilities) == (False, True)
    for faulty in ({"constrain": "perhaps"}, {"choice_probabilities": 2}):
        with pytest.raises(ValidationError):
            ChatCompletionBody.model_validate(body | faulty)


def test_probabilities_are_refused_in_a_stream() -> None:
    body = CompletionBody.model_validate(
        {"model": "base", "prompt": "hi", "stream": True, "choice_probabilities": True}
    )
    with pytest.raises(InvalidRequestError, match="'choice_probabilities' is not supported in a stream"):
        body.to_request()


@pytest.mark.parametrize("field", ["tool_calls", "function_call"])
def test_call_in_a_message_is_refused_and_not_forgotten(field: str) -> None:
    """The model would answer as if it had called nothing."""
    body = parse(json.dumps({"role": "assistant", "content": "", field: [{"name": "f"}]}))
    with pytest.raises(InvalidRequestError, match=field) as caught:
        body.to_request()
    assert caught.value.code == "unsupported_parameter"


@pytest.mark.parametrize("content", [r'"hi\ud800"', r'[{"type": "text", "text": "\udfff"}]'])
def test_lone_surrogate_in_a_message_is_refused(content: str) -> None:
    """The engine marks control tokens with one."""
    with pytest.raises(ValidationError, match="valid"):
        parse(f'{{"role": "user", "content": {content}}}')


def test_null_says_what_leaving_out_says() -> None:
    """Clients that serialize what nobody set send it."""
    fields = set(ChatCompletionBody.model_fields) | {"n", "tools", "response_format", "guided_choice", "unheard_of"}
    nulls: dict[str, Any] = dict.fromkeys(fields - {"model", "messages"})
    nulls |= {"stream_options": {"include_usage": None}, "structured_outputs": {"choice": ["a"], "regex": None}}
    body = {"model": "base", "messages": [HI]}
    request = ChatCompletionBody.model_validate(body | nulls).to_request()
    assert request == ChatCompletionBody.model_validate(body | {"structured_outputs": {"choice": ["a"]}}).to_request()
    completion = CompletionBody.model_validate({"model": "base", "prompt": "hi", "max_tokens": None, "stream": None})
    assert (completion.max_tokens, completion.stream) == (16, False)


def test_null_under_one_name_leaves_the_other_in_force() -> None:
    body = {"model": "base", "messages": [HI], "max_completion_tokens": None, "max_tokens": 5}
    assert ChatCompletionBody.model_validate(body).to_request().max_tokens == 5


@pytest.mark.parametrize("field", ["model", "messages"])
def test_null_for_what_must_be_there_is_refused(field: str) -> None:
    with pytest.raises(ValidationError, match="required"):
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI], field: None})


@pytest.mark.parametrize(
    ("field", "neutral", "other"),
    [
        ("logprobs", [False], [True, 0]),
        ("modalities", [["text"]], [["text", "audio"]]),
        ("reasoning_effort", ["none"], ["low"]),
        ("top_k", [0, -1], [1, 40]),
        ("min_p", [0, 0.0], [0.05]),
        ("repetition_penalty", [1, 1.0], [1.1, 0]),
        ("length_penalty", [1.0], [0.5]),
        ("use_beam_search", [False], [True]),
        ("min_tokens", [0], [1]),
        ("stop_token_ids", [[]], [[2]]),
        ("ignore_eos", [False], [True]),
        ("include_stop_str_in_output", [False], [True]),
        ("skip_special_tokens", [True], [False]),
        ("bad_words", [[]], [["no"]]),
        ("allowed_token_ids", [], [[], [5]]),
        ("truncate_prompt_tokens", [], [5]),
        ("prompt_logprobs", [], [0]),
        ("add_generation_prompt", [True], [False]),
        ("continue_final_message", [False], [True]),
        ("chat_template", [], ["{{ messages }}"]),
        ("chat_template_kwargs", [{}], [{"enable_thinking": False}]),
        ("documents", [[]], [[{"text": "x"}]]),
        ("guided_json", [], [{}]),
        ("guided_regex", [], ["a|b"]),
        ("guided_grammar", [], ["root ::= 'a'"]),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(field: str, neutral: list[Any], other: list[Any]) -> None:
    """And let through where it says what happens anyway."""
    body = {"model": "base", "messages": [HI]}
    plain = ChatCompletionBody.model_validate(body).to_request()
    for value in [*neutral, None]:
        assert ChatCompletionBody.model_validate(body | {field: value}).to_request() == plain
    for value in other:
        with pytest.raises(InvalidRequestError, match=f"'{field}' is not supported") as caught:
            ChatCompletionBody.model_validate(body | {field: value}).to_request()
        assert caught.value.code == "unsupported_parameter"


MANY = 20_000
PART = {"type": "text", "text": "hi"}
UNKNOWN = {f"field-{number}": 0 for number in range(MANY)}


@pytest.mark.parametrize(
    ("body", "change"),
    [
        (ChatCompletionBody, {"messages": [[]] * MANY}),
        (ChatCompletionBody, {"messages": [{}] * 1_000}),
        (ChatCompletionBody, {"messages": [HI | {"content": [[]] * MANY}]}),
        (ChatCompletionBody, {"messages": [HI | {"content": [{}] * MAX_PARTS}] * 100}),
        (ChatCompletionBody, {"messages": [HI | {"content": [PART] * (MAX_PARTS + 1)}]}),
        (ChatCompletionBody, {"messages": [HI | UNKNOWN]}),
        (ChatCompletionBody, UNKNOWN),
        (ChatCompletionBody, {"stop": [[]] * MANY}),
        (ChatCompletionBody, {"structured_outputs": {"choice": [[]] * 256}}),
        (ChatCompletionBody, {"structured_outputs": UNKNOWN}),
        (ChatCompletionBody, {"stream_options": UNKNOWN}),
        (CompletionBody, {"prompt": [[]] * MANY}),
        (CompletionBody, {"prompt": [5] * MANY + ["x"] * MANY}),
    ],
)
def test_body_of_many_faults_is_refused_at_the_first(
    body: type[ChatCompletionBody | CompletionBody], change: dict[str, Any]
) -> None:
    """A field of several forms has one fault for each."""
    with pytest.raises(ValidationError) as caught:
        body.model_validate({"model": "base", "messages": [HI], "prompt": "hi"} | change)
    assert caught.value.error_count() <= 3


def test_body_at_its_limits_is_taken() -> None:
    message = HI | {"content": [PART] * MAX_PARTS}
    some = dict(list(UNKNOWN.items())[: MAX_FIELDS - 2])
    request = ChatCompletionBody.model_validate({"model": "base", "messages": [message] * 1_024} | some).to_request()
    assert request.prompt == ChatPrompt((ChatMessage("user", "hi" * MAX_PARTS),) * 1_024)
    CompletionBody.model_validate({"model": "base", "prompt": [5] * MANY}).to_request()
