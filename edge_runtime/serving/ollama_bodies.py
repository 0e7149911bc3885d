"""Bodies of Ollama's interface, as far as it is answered, and the completions that they mean.

A lifetime (`keep_alive`) of 0 unloads the model. No other means anything here: a model stays loaded until another needs
its room. Options that say how Ollama runs a model change no answer here, and are let through. Those that would change
an answer and are not supported are refused by name.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion import CompletionRequest
from edge_runtime.serving.neutral_fields import OLLAMA, OLLAMA_MESSAGE, OLLAMA_OPTIONS, verify_neutral
from edge_runtime.serving.request_objects import Fields, OpenFields
from edge_runtime.serving.responses_body import chat_request
from edge_runtime.serving.schemas import MAX_MESSAGES, CompletionBody
from loragen.web.body_fields import Text

_TAG = ":latest"
"""Ollama's clients add it to names without a tag."""

_DURATION = r"^[-+]?(0|([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+)$"
"""As Go reads it."""

_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repeat_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
)


_NAMES = {
    **{name: f"options.{name}" for name in (*_SAMPLING, "stop")},
    "max_tokens": "options.num_predict",
    "response_format": "format",
}
"""What Ollama's clients call the fields of a completion."""


class _Options(OpenFields):
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    num_predict: int = Field(default=-1, description="Longest answer; below 0 as long as the context allows.")

    def to_fields(self) -> dict[str, Any]:
        verify_neutral(self.model_extra, OLLAMA_OPTIONS)
        fields = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        if self.seed == -1:  # Ollama's own word for a seed that is drawn
            del fields["seed"]
        return {**fields, "stop": self.stop, "max_tokens": self.num_predict if self.num_predict >= 0 else -1}


class _CalledFunction(Fields):
    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)


class _Call(Fields):
    function: _CalledFunction


class _Message(OpenFields):
    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    tool_calls: Annotated[list[_Call], Field(max_length=64, fail_fast=True)] = Field(default=[])
    tool_name: str = ""

    def to_chat(self) -> dict[str, Any]:
        verify_neutral(self.model_extra, OLLAMA_MESSAGE)
        calls = [
            {
                "id": call.function.name,
                "function": {"name": call.function.name, "arguments": json.dumps(call.function.arguments)},
            }
            for call in self.tool_calls
        ]
        return {"role": self.role, "content": self.content, "tool_calls": calls, "tool_call_id": self.tool_name}


class OllamaBody(OpenFields):
    """What both bodies have."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]
    stream: bool = True
    format: Literal["", "json"] | dict[str, Any] = ""
    options: _Options = _Options()
    think: Literal[False] | None = None
    keep_alive: float | Annotated[str, Field(pattern=_DURATION)] | None = Field(
        default=None, description="0 unloads the model after the answer; any other is the device's own decision."
    )

    @property
    def then_unload(self) -> bool:
        """Whether the model is to be unloaded after the answer."""
        return self.keep_alive is not None and not re.search("[1-9]", str(self.keep_alive))

    @property
    def model_name(self) -> str:
        """The name without the tag that Ollama's clients add."""
        return self.model.removesuffix(_TAG)

    def _fields(self) -> dict[str, Any]:
        verify_neutral(self.model_extra, OLLAMA)
        fields = {"model": self.model_name, **self.options.to_fields()}
        if self.format == "json":
            fields["response_format"] = {"type": "json_object"}
        elif self.format:
            fields["response_format"] = {"type": "json_schema", "json_schema": {"schema": self.format}}
        return fields


class OllamaChatBody(OllamaBody):
    """Body of `POST /api/chat`."""

    messages: Annotated[list[_Message], Field(max_length=MAX_MESSAGES, fail_fast=True)] = Field(default=[])
    tools: list[dict[str, Any]] = Field(default=[])

    def to_request(self) -> CompletionRequest | None:
        """The request that this body describes; None for one that only wants the model loaded or unloaded.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        if not self.messages:
            return None
        messages = [message.to_chat() for message in self.messages]
        return chat_request({**self._fields(), "messages": messages, "tools": self.tools}, _NAMES)


class OllamaGenerateBody(OllamaBody):
    """Body of `POST /api/generate`."""

    prompt: Text = ""
    system: Text = ""
    raw: bool = Field(default=False, description="The prompt goes to the model as it is, without its chat template.")

    def to_request(self) -> CompletionRequest | None:
        """The request that this body describes; None for one that only wants the model loaded or unloaded.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        if not self.prompt:
            return None
        if not self.raw:
            system = [{"role": "system", "content": self.system}] if self.system else []
            messages = [*system, {"role": "user", "content": self.prompt}]
            return chat_request({**self._fields(), "messages": messages}, _NAMES)
        if self.system:
            raise InvalidRequestError("expected 'raw' or 'system', found both")
        return chat_request({**self._fields(), "prompt": self.prompt}, _NAMES, CompletionBody)
