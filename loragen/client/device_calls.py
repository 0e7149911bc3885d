"""The calls of a device; `DeviceClient` and `AsyncDeviceClient` have a method for each.

In the examples, `device` is a `DeviceClient`. With an `AsyncDeviceClient` the same calls are awaited, and streams are
read with `async for`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict, Unpack

from pydantic import AliasPath, BeforeValidator, Field

from loragen.answer_model import AnswerModel
from loragen.client.call import Answer, ApiCall, as_model, path_of
from loragen.client.device_answers import Completion, TextChunk, ToolCall, Usage
from loragen.device_answers import DeviceStatus, ServedModel

ChatMessages = str | Sequence[Mapping[str, str]]


class SamplingOptions(TypedDict, total=False):
    """How an answer is chosen; what is left out is the device's default, OpenAI's.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        max_tokens: Longest answer.
        stop: The answer ends before any of these texts.
        choices: The answer is exactly one of these texts.
        constrain: False to let a specialization answer with what it writes, whatever its `answer` in `models()` says.
        choice_probabilities: Say how likely each choice is; where the model's `answer` has codes, and not in a stream.
        response_format: The answer's form, as OpenAI has it.
        tools: Of a chat, functions that the answer may call, in OpenAI's form; a specialization knows its own.
        tool_choice: Whether to call one: `auto`, `none`, `required`, or OpenAI's object that names one.
        parallel_tool_calls: False for one call at most.
        chat_template_kwargs: Of a chat, variables of the model's chat template.
    """

    temperature: float
    top_p: float
    frequency_penalty: float
    presence_penalty: float
    seed: int
    max_tokens: int
    stop: Sequence[str]
    choices: Sequence[str]
    constrain: bool
    choice_probabilities: bool
    response_format: Mapping[str, Any]
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    chat_template_kwargs: Mapping[str, Any]


def models() -> ApiCall[tuple[ServedModel, ...]]:
    """What the device serves, and what it is about to, the base model first.

    Example:
        >>> {model.id: model.state for model in device.models()}
    """
    return ApiCall("GET", "/v1/models", lambda answer: _Models.model_validate_json(answer.body).data)


def model(name: str) -> ApiCall[ServedModel]:
    """One of the device's models.

    Raises:
        RemoteError: No answer, or a refusal: 404 when the device has no such model.

    Example:
        >>> device.model("reviews").retained_delta
    """
    return ApiCall("GET", path_of("v1", "models", name), as_model(ServedModel))


def status() -> ApiCall[DeviceStatus]:
    """What the device follows, what it serves and what keeps it from more.

    Example:
        >>> device.status().last_poll
    """
    return ApiCall("GET", "/status", as_model(DeviceStatus))


def chat(
    model: str, messages: ChatMessages, *, system: str | None = None, **sampling: Unpack[SamplingOptions]
) -> ApiCall[Completion]:
    """The answer of a model in a chat.

    Args:
        model: Name of a specialization, or `base`.
        messages: The user's text, or OpenAI's list of messages.
        system: System prompt before the messages.
        **sampling: See `SamplingOptions`.

    Raises:
        RemoteError: No answer, or a refusal.

    Example:
        >>> device.chat("reviews", "Dull from start to finish.", temperature=0, choices=["positive", "negative"]).text
    """
    return _completion("/v1/chat/completions", _chat_body(model, messages, system, sampling), _WholeChat)


def stream_chat(
    model: str, messages: ChatMessages, *, system: str | None = None, **sampling: Unpack[SamplingOptions]
) -> ApiCall[TextChunk]:
    """The answer of a model in a chat, piece by piece. Arguments as for `chat`.

    Raises:
        RemoteError: No answer, a refusal, or the stream ended early.

    Example:
        >>> for chunk in device.stream_chat("reviews", "Dull from start to finish."):
        ...     print(chunk.text, end="", flush=True)
    """
    return _stream("/v1/chat/completions", _chat_body(model, messages, system, sampling))


def complete(model: str, prompt: str | Sequence[int], **sampling: Unpack[SamplingOptions]) -> ApiCall[Completion]:
    """The continuation of a prompt, a text or token ids, without a chat template.

    Example:
        >>> device.complete("base", "Once upon a time", max_tokens=20).text
    """
    return _completion("/v1/completions", _text_body(model, prompt, sampling), _WholeText)


def stream_complete(model: str, prompt: str | Sequence[int], **sampling: Unpack[SamplingOptions]) -> ApiCall[TextChunk]:
    """The continuation of a prompt, piece by piece. Arguments as for `complete`.

    Example:
        >>> "".join(chunk.text for chunk in device.stream_complete("base", "Once upon a time"))
    """
    return _stream("/v1/completions", _text_body(model, prompt, sampling))


def find_serving(
    models: Sequence[ServedModel], name: str, either_id: str, *, merged: bool
) -> tuple[ServedModel | None, str]:
    """The model that serves a bundle under a name, by its id or that of its recipe; and how far the device came."""
    found = next((model for model in models if model.id == name), None)
    if found is None:
        return None, f"the device does not know {name!r}"
    serves = either_id in (found.bundle_id, found.recipe_id) and found.state in (
        ("merged",) if merged else ("merged", "adapter")
    )
    return found if serves else None, f"{name!r} is {found.state} with bundle {found.bundle_id}: {found.message}"


class _Models(AnswerModel):
    data: tuple[ServedModel, ...]


class _Usage(Usage):
    cached_tokens: int = Field(0, validation_alias=AliasPath("prompt_tokens_details", "cached_tokens"))


class _Whole(Completion):
    finish_reason: str = Field(validation_alias=AliasPath("choices", 0, "finish_reason"))
    fingerprint: str = Field("", validation_alias="system_fingerprint")
    choice_probabilities: Mapping[str, float] | None = Field(
        None, validation_alias=AliasPath("choices", 0, "choice_probabilities")
    )
    usage: _Usage


class _WholeChat(_Whole):
    text: Annotated[str, BeforeValidator(lambda content: content or "")] = Field(
        validation_alias=AliasPath("choices", 0, "message", "content")
    )
    tool_calls: tuple[ToolCall, ...] = Field((), validation_alias=AliasPath("choices", 0, "message", "tool_calls"))


class _WholeText(_Whole):
    text: str = Field(validation_alias=AliasPath("choices", 0, "text"))


class _Delta(AnswerModel):
    content: str | None = None


class _ChunkChoice(AnswerModel):
    text: str = ""
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Chunk(AnswerModel):
    choices: tuple[_ChunkChoice, ...] = ()
    usage: _Usage | None = None


def _completion(path: str, body: Mapping[str, Any], form: type[_Whole]) -> ApiCall[Completion]:
    return ApiCall("POST", path, as_model(form), body, repeatable=False)


def _stream(path: str, body: Mapping[str, Any]) -> ApiCall[TextChunk]:
    def parse(answer: Answer) -> TextChunk:
        chunk = _Chunk.model_validate_json(answer.body)
        choice = chunk.choices[0] if chunk.choices else _ChunkChoice()
        return TextChunk(
            text=choice.text or choice.delta.content or "", finish_reason=choice.finish_reason, usage=chunk.usage
        )

    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    return ApiCall("POST", path, parse, streamed, repeatable=False)


def _chat_body(model: str, messages: ChatMessages, system: str | None, sampling: SamplingOptions) -> dict[str, Any]:
    listed = [{"role": "user", "content": messages}] if isinstance(messages, str) else [*messages]
    if system is not None:
        listed.insert(0, {"role": "system", "content": system})
    return {"model": model, "messages": listed, **_sampling_body(sampling)}


def _text_body(model: str, prompt: str | Sequence[int], sampling: SamplingOptions) -> dict[str, Any]:
    return {"model": model, "prompt": prompt if isinstance(prompt, str) else list(prompt), **_sampling_body(sampling)}


def _sampling_body(sampling: SamplingOptions) -> dict[str, Any]:
    body: dict[str, Any] = dict(sampling)
    if choices := body.pop("choices", ()):
        body["structured_outputs"] = {"choice": list(choices)}
    return body
