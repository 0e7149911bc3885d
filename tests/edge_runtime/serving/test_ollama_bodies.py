"""What Ollama's interface accepts, and the completions that it means."""

from typing import Any

import pytest
from pydantic import ValidationError

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.chat import ChatMessage, FunctionCall
from edge_runtime.serving.completion import ChatPrompt, CompletionRequest, TextPrompt
from edge_runtime.serving.ollama_bodies import OllamaChatBody, OllamaGenerateBody

HI = [{"role": "user", "content": "hi"}]


def chat(**more: Any) -> CompletionRequest:
    request = OllamaChatBody.model_validate({"model": "desks:latest", "messages": HI, **more}).to_request()
    assert request is not None
    return request


def test_options_are_those_of_a_completion() -> None:
    options = {"temperature": 0, "num_predict": 7, "stop": ["x"], "seed": 3, "top_k": 5, "num_ctx": 4096, "num_gpu": 0}
    request = chat(options=options, keep_alive="5m", think=False)
    sampling = request.sampling
    assert (sampling.temperature, sampling.seed, sampling.top_k) == (0, 3, 5)
    assert (request.max_tokens, request.stop) == (7, ("x",))
    assert chat().max_tokens is None
    assert chat(options={"num_predict": -2}).max_tokens is None
    assert chat(options={"seed": -1}).sampling.seed is None


@pytest.mark.parametrize(
    ("keep_alive", "then_unload"),
    [
        *((lifetime, True) for lifetime in (0, "0", "0s", "0m0.0s")),
        *((lifetime, False) for lifetime in (None, -1, 0.5, "5m", "-1s", "1h30m", 300, 1e-9)),
    ],
)
def test_lifetime_of_zero_unloads(keep_alive: Any, then_unload: bool) -> None:
    body = OllamaChatBody.model_validate({"model": "desks", "messages": HI, "keep_alive": keep_alive})
    assert body.then_unload is then_unload
    assert body.to_request() is not None


@pytest.mark.parametrize("keep_alive", ["", "soon", "5 m", "m", {}])
def test_lifetime_that_is_none_is_refused(keep_alive: Any) -> None:
    with pytest.raises(ValidationError, match="keep_alive"):
        OllamaChatBody.model_validate({"model": "desks", "keep_alive": keep_alive})


def test_format_is_json_or_a_schema() -> None:
    assert chat(format="json").sampling.schema == '{"type":"object"}'
    assert chat(format={"type": "integer"}).sampling.schema == '{"type":"integer"}'
    assert chat(format="").sampling.schema == ""


def test_calls_and_results_stand_in_the_conversation() -> None:
    call = {"function": {"name": "find", "arguments": {"a": 1}}}
    conversation = [*HI, {"role": "assistant", "content": "", "tool_calls": [call]}]
    conversation.append({"role": "tool", "content": "12", "tool_name": "find"})
    prompt = chat(messages=conversation).prompt
    assert isinstance(prompt, ChatPrompt)
    expected = (
        ChatMessage("assistant", "", (FunctionCall("find", '{"a": 1}'),)),
        ChatMessage("tool", "12", name="find"),
    )
    assert prompt.messages[1:] == expected


def test_prompt_goes_through_the_template_unless_it_is_raw() -> None:
    body: dict[str, Any] = {"model": "base", "prompt": "hi"}
    found = OllamaGenerateBody.model_validate(body | {"system": "Be kind."}).to_request()
    assert found is not None
    assert found.prompt == ChatPrompt(
        (ChatMessage("system", "Be kind."), ChatMessage("user", "hi")), found.prompt.rendering
    )  # type: ignore[union-attr]
    raw = OllamaGenerateBody.model_validate(body | {"raw": True}).to_request()
    assert raw is not None
    assert raw.prompt == TextPrompt("hi")
    with pytest.raises(InvalidRequestError, match="'raw' or 'system'"):
        OllamaGenerateBody.model_validate(body | {"raw": True, "system": "x"}).to_request()


def test_request_without_a_prompt_only_loads() -> None:
    assert OllamaChatBody.model_validate({"model": "base"}).to_request() is None
    assert OllamaGenerateBody.model_validate({"model": "base", "prompt": ""}).to_request() is None


def test_tag_of_a_name_is_dropped() -> None:
    assert OllamaChatBody.model_validate({"model": "desks:latest"}).model_name == "desks"
    assert OllamaChatBody.model_validate({"model": "desks:7b"}).model_name == "desks:7b"


@pytest.mark.parametrize(
    "change",
    [
        {"template": "{{ .Prompt }}"},
        {"suffix": "x"},
        {"context": [1]},
        {"options": {"mirostat": 2}},
        {"options": {"penalize_newline": True}},
        {"options": {"temperature": 9}},
        {"unheard_of": 1},
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(change: dict[str, Any]) -> None:
    name = next(iter(change["options"])) if "options" in change else next(iter(change))
    body = OllamaGenerateBody.model_validate({"model": "base", "prompt": "hi", **change})
    with pytest.raises(InvalidRequestError, match=name):
        body.to_request()


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"options": {"num_predict": 0}}, "options.num_predict", "options.num_predict: expected at least 1"),
        ({"options": {"top_k": -2}}, "options.top_k", "options.top_k: Input should be"),
        ({"options": {"stop": [""]}}, "options.stop", "options.stop.0: String should have"),
        ({"format": {"type": "nothing"}}, "format", "format.json_schema: schema.type"),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_fault_is_named_as_the_client_knows_it(change: dict[str, Any], field: str, message: str, raw: bool) -> None:
    if raw and "num_predict" in str(change):
        message = "'options.num_predict': expected at least 1"
    body = OllamaGenerateBody.model_validate({"model": "base", "prompt": "hi", "raw": raw, **change})
    with pytest.raises(InvalidRequestError) as caught:
        body.to_request()
    assert caught.value.field == field
    assert str(caught.value).startswith(message)
    assert "[" not in str(caught.value)


def test_images_and_thinking_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="images"):
        chat(messages=[HI[0] | {"images": ["AAAA"]}])
    for change in ({"think": True}, {"messages": [{"role": "narrator"}]}, {"format": "yaml"}, {"options": 5}):
        with pytest.raises(ValidationError):
            chat(**change)
