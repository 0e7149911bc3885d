"""What the bodies of requests may say."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import ChatMessage
from edge_runtime.serving.completion import ChatPrompt
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.messages import MAX_PARTS
from edge_runtime.serving.request_objects import MAX_FIELDS
from edge_runtime.serving.schemas import ChatCompletionBody, CompletionBody

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


@pytest.mark.parametrize("content", [r'"hi\ud800"', r'[{"type": "text", "text": "\udfff"}]'])
def test_lone_surrogate_in_a_message_is_refused(content: str) -> None:
    """The engine marks control tokens with one."""
    with pytest.raises(ValidationError, match="valid"):
        parse(f'{{"role": "user", "content": {content}}}')


def test_null_says_what_leaving_out_says() -> None:
    """Clients that serialize what nobody set send it."""
    fields = set(ChatCompletionBody.model_fields) | {"functions", "guided_choice", "unheard_of"}
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


def test_sampling_is_what_the_fields_say() -> None:
    body = {"model": "base", "messages": [HI], "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2, "seed": 3}
    body |= {"logit_bias": {"5": -100, "7": 1.5}, "logprobs": True, "top_logprobs": 2, "n": 3, "top_p": 0}
    request = ChatCompletionBody.model_validate(body).to_request()
    assert request.answers == 3
    assert request.sampling == Sampling(
        top_p=0, seed=3, top_k=5, min_p=0.1, repeat_penalty=1.2, logit_bias=((5, -100), (7, 1.5)), logprobs=2
    )
    for off in ({"top_k": -1}, {"top_k": 0}, {"min_p": 0}, {"repeat_penalty": 1}, {"n": 1}, {"logprobs": False}):
        plain = {"model": "base", "messages": [HI]}
        assert ChatCompletionBody.model_validate(plain | off).to_request().sampling == Sampling()


@pytest.mark.parametrize(
    "change",
    [
        {"n": 0},
        {"n": 9},
        {"top_k": -2},
        {"min_p": 1.5},
        {"repeat_penalty": 0},
        {"repeat_penalty": 1e-40},
        {"repetition_penalty": 0.001},
        {"top_logprobs": 21},
        {"logit_bias": {"x": 1}},
        {"logit_bias": {"5": 101}},
        {"logit_bias": {str(token): 1 for token in range(2_000)}},
        {"stop": ["", "x"]},
        {"response_format": {"type": "grammar"}},
        {"tools": [{"type": "function", "function": {"name": "no name"}}]},
        {"tool_choice": {"type": "function"}},
        {"tool_choice": "sometimes"},
        {"stream_options": {"continuous_usage_stats": True}},
        {"stream_options": {"include_obfuscation": True}},
        {"stream_options": {"unheard_of": 1}},
    ],
)
def test_value_out_of_its_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI]} | change)


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize(
    ("length", "found"),
    [(0, "at least 1, or -1"), (-2, "equal to -1"), ("5", "integer"), (1.5, "integer"), (2**20 + 1, "less than")],
)
def test_length_that_cannot_be_is_one_fault_that_fits(field: str, length: object, found: str) -> None:
    with pytest.raises(ValidationError, match=found) as caught:
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI], field: length})
    assert caught.value.error_count() == 1


def test_form_of_tool_choice_that_is_not_known_is_one_fault() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    with pytest.raises(ValidationError, match="to allow some tools, send these alone") as caught:
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI], "tool_choice": allowed})
    assert caught.value.error_count() == 1


@pytest.mark.parametrize("stop", ["", None, []])
def test_nothing_to_stop_at_is_none(stop: object) -> None:
    body = ChatCompletionBody.model_validate({"model": "base", "messages": [HI], "stop": stop})
    assert body.to_request().stop == ()


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"top_logprobs": 2}, "'top_logprobs' needs"),
        ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ({"response_format": {"type": "json_object"}, "structured_outputs": {"choice": ["a"]}}, "found both"),
        ({"grammar": "root ::= .*"}, "'grammar' is not supported"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(change: dict[str, Any], found: str) -> None:
    with pytest.raises(InvalidRequestError, match=found):
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI]} | change).to_request()


def test_likelihoods_of_a_text_completion_are_asked_for_by_their_number() -> None:
    for number, expected in ((0, 0), (5, 5), (None, None)):
        body = CompletionBody.model_validate({"model": "base", "prompt": "hi", "logprobs": number})
        assert body.to_request().sampling.logprobs == expected


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
    some = dict.fromkeys(list(UNKNOWN)[: MAX_FIELDS - 2])
    request = ChatCompletionBody.model_validate({"model": "base", "messages": [message] * 1_024} | some).to_request()
    assert request.prompt == ChatPrompt((ChatMessage("user", "hi" * MAX_PARTS),) * 1_024)
    CompletionBody.model_validate({"model": "base", "prompt": [5] * MANY}).to_request()


def test_tools_and_variables_reach_the_prompt() -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "d", "strict": True}}
    body = {"model": "base", "messages": [HI], "tools": [tool], "chat_template_kwargs": {"enable_thinking": False}}
    request = ChatCompletionBody.model_validate(body).to_request()
    assert isinstance(request.prompt, ChatPrompt)
    (definition,) = request.prompt.rendering.tools
    assert json.loads(definition)["function"]["description"] == "d"
    assert request.prompt.rendering.variables == '{"enable_thinking": false}'
    assert request.tool_use.parallel
    assert not ChatCompletionBody.model_validate(body | {"parallel_tool_calls": False}).to_request().tool_use.parallel


@pytest.mark.parametrize(
    "variables",
    [
        *({name: "x"} for name in ("tools", "messages", "add_generation_prompt", "a b", "_x")),
        *({"x": value} for value in ([], "\ud800", "y" * 1_025)),
        {f"x{number}": 1 for number in range(17)},
    ],
)
def test_variables_that_are_none_are_refused(variables: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChatCompletionBody.model_validate({"model": "base", "messages": [HI], "chat_template_kwargs": variables})
