"""Request bodies of the OpenAI-compatible interface: what is accepted, within which limits, and what it becomes.

Rules:
- A field that would change the answer and is not supported is refused by name, never ignored. Fields that change
  nothing (`user`, `metadata`, ...) are accepted. Null means the same as leaving a field out.
- Defaults are OpenAI's. Three fields are added: `structured_outputs`, with vLLM's name and form, and two that concern
  the answer contract of a specialization, `constrain` and `choice_probabilities`.
- Lists and objects are bounded, and a list is read up to its first fault: bodies are read on the event loop, where each
  fault costs time and memory.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.completion import ChatPrompt, CompletionRequest, TextPrompt, TokenPrompt
from edge_runtime.serving.engine import ChatMessage, Sampling
from loragen.web.body_fields import Text, verify_few

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A prompt of a million tokens, at four bytes each."""

MAX_FIELDS = 128
"""In one object; OpenAI's and vLLM's fields together are fewer."""

MAX_MESSAGES = 1_024
MAX_PARTS = 256
"""In one message."""

MAX_STOP = 16
MAX_STOP_CHARACTERS = 256
MAX_TOKENS = 1_048_576
MAX_CHOICES = 256
MAX_CHOICE_CHARACTERS = 256
_COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for /v1/completions."""

# What each of these may say, of a request or in a message, without changing the answer; null besides.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "tool_calls": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "web_search_options": (),
    "top_k": (0, -1),
    "min_p": (0,),
    "repetition_penalty": (1,),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "min_tokens": (0,),
    "stop_token_ids": ([],),
    "ignore_eos": (False,),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True,),
    "bad_words": ([],),
    "allowed_token_ids": (),
    "truncate_prompt_tokens": (),
    "prompt_logprobs": (),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "documents": ([],),
    "guided_json": (),  # these four came before `structured_outputs`
    "guided_regex": (),
    "guided_grammar": (),
    "guided_choice": (),
}


def _verify_supported(body: BaseModel) -> None:
    for field, value in (body.model_extra or {}).items():
        # 0 equals False, but `"logprobs": 0` asks for one.
        if field in _NEUTRAL and not any(
            value == neutral and isinstance(value, bool) is isinstance(neutral, bool) for neutral in _NEUTRAL[field]
        ):
            raise InvalidRequestError(
                f"{field!r} is not supported by this server",
                "leave it out; tools and formats belong into the task description, and so into the weights",
                code="unsupported_parameter",
            )


Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class _Object(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        verify_few(fields, MAX_FIELDS)
        return {field: value for field, value in fields.items() if value is not None}


class StreamOptions(_Object):
    """How a stream is sent.

    Attributes:
        include_usage: Send token counts in a last chunk.
    """

    include_usage: bool = False


class StructuredOutputs(_Object):
    """What an answer must look like: of vLLM's forms, the one that a specialization for a closed set needs.

    Attributes:
        choice: The answer is exactly one of these texts.
    """

    model_config = ConfigDict(extra="forbid")

    choice: Annotated[
        list[Annotated[Text, Field(min_length=1, max_length=MAX_CHOICE_CHARACTERS)]],
        Field(min_length=1, max_length=MAX_CHOICES, fail_fast=True),
    ]


class _Body(_Object):
    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOP, fail_fast=True)] | None = None
    structured_outputs: StructuredOutputs | None = None
    constrain: Annotated[
        bool,
        Field(
            description="Hold the answer to the specialization's contract, `answer` in `GET /v1/models`. With false "
            "the answer is what the model writes: where the contract has codes, a code and not the choice's text."
        ),
    ] = True
    choice_probabilities: Annotated[
        bool,
        Field(
            description="Add `choice_probabilities` to the answer: how likely the model takes each choice, before "
            "`temperature`. Only for an answer that is one of a contract's choices and has codes, and not in a stream."
        ),
    ] = False
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def includes_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def _request(self, prompt: TextPrompt | TokenPrompt | ChatPrompt, max_tokens: int | None) -> CompletionRequest:
        _verify_supported(self)
        if self.choice_probabilities and self.stream:
            raise InvalidRequestError(
                "'choice_probabilities' is not supported in a stream",
                "leave out 'stream'",
                code="unsupported_parameter",
            )
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        choices = () if self.structured_outputs is None else tuple(self.structured_outputs.choice)
        sampling = Sampling(
            self.temperature, self.top_p, self.frequency_penalty, self.presence_penalty, self.seed, choices
        )
        return CompletionRequest(prompt, sampling, max_tokens, stop, self.constrain, self.choice_probabilities)


class CompletionBody(_Body):
    """Body of `POST /v1/completions`: one prompt, as text or as tokens."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "desks", "prompt": "Where is my parcel?", "temperature": 0}]}
    )

    prompt: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=1)]
        | Annotated[list[int], Field(min_length=1, max_length=MAX_TOKENS, fail_fast=True)]
    )
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = _COMPLETION_MAX_TOKENS

    def to_request(self) -> CompletionRequest:
        """The request that this body describes.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        if isinstance(self.prompt, str):
            return self._request(TextPrompt(self.prompt), self.max_tokens)
        texts = [part for part in self.prompt if isinstance(part, str)]
        if texts:
            return self._request(TextPrompt(texts[0]), self.max_tokens)
        tokens = tuple(part for part in self.prompt if isinstance(part, int))
        return self._request(TokenPrompt(tokens), self.max_tokens)


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    type: Literal["text"]
    text: Text


class MessageBody(_Object):
    """One message; a content in parts is joined."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart], Field(max_length=MAX_PARTS, fail_fast=True)]

    def to_message(self) -> ChatMessage:
        """The message with its content as one text; `developer` is OpenAI's newer word for `system`.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        _verify_supported(self)
        content = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ChatMessage("system" if self.role == "developer" else self.role, content)


class ChatCompletionBody(_Body):
    """Body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "desks",
                    "messages": [{"role": "user", "content": "Where is my parcel?"}],
                    "temperature": 0,
                    "choice_probabilities": True,
                },
                {
                    "model": "desks",
                    "messages": [{"role": "user", "content": "Where is my parcel?"}],
                    "constrain": False,
                    "stream": True,
                },
            ]
        }
    )

    messages: Annotated[list[MessageBody], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_tokens: (
        Annotated[int, Field(ge=1, le=MAX_TOKENS, description="The older name of `max_completion_tokens`, which wins.")]
        | None
    ) = None

    def to_request(self) -> CompletionRequest:
        """The request that this body describes.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        longest = self.max_completion_tokens or self.max_tokens
        return self._request(ChatPrompt(tuple(m.to_message() for m in self.messages)), longest)
