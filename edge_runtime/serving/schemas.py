"""Request bodies of the OpenAI-compatible interface: what is accepted, within which limits, and what it becomes.

Rules:
- A field that would change the answer and is not supported is refused by name, never ignored
  (`serving.neutral_fields`). Null means the same as leaving a field out.
- Defaults are OpenAI's. Beside its fields there are `structured_outputs`, with vLLM's name and form; `top_k`, `min_p`
  and `repeat_penalty`, as llama.cpp has them; and two that concern the answer contract of a specialization,
  `constrain` and `choice_probabilities`.
- Lists and objects are bounded, and a list is read up to its first fault: bodies are read on the event loop, where each
  fault costs time and memory.
"""

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.answer_forms import ResponseFormat, StructuredOutputs, ToolChoice, Tools, tool_use
from edge_runtime.serving.chat import Rendering, verify_variables
from edge_runtime.serving.completion import ChatPrompt, CompletionRequest, TextPrompt, TokenPrompt
from edge_runtime.serving.constraint import NO_TOOL_USE, ToolUse
from edge_runtime.serving.engine import Sampling
from edge_runtime.serving.messages import MessageBody, to_messages
from edge_runtime.serving.neutral_fields import REQUEST, REQUEST_HINTS, verify_neutral
from edge_runtime.serving.request_objects import Fields, OpenFields
from loragen.web.body_fields import Text, verify_few

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A prompt of a million tokens, at four bytes each."""

MAX_MESSAGES = 1_024
MAX_STOP = 16
MAX_STOP_CHARACTERS = 256
MAX_TOKENS = 1_048_576
MAX_ANSWERS = 8
"""To one request; they are written one after another."""

MAX_BIASED = 1_024
MAX_LOGPROBS = 20
"""As OpenAI; it tells five of a text completion."""

MIN_REPEAT_PENALTY = 0.01
"""Logits are divided by it: at 1e-38 they would be infinite, and what is drawn of infinite ones is no answer."""

_COMPLETION_MAX_TOKENS = 16
"""OpenAI's default for /v1/completions."""

MAX_PROMPTS = 128
"""In one request; they are answered one after another."""

TokenIds = Annotated[list[int], Field(min_length=1, max_length=MAX_TOKENS, fail_fast=True)]


def _form_of(prompt: Any) -> str:
    """Which of the four forms of a prompt is meant: only its faults are reported."""
    if not isinstance(prompt, list):
        return "text"
    first = prompt[0] if prompt else None
    return "texts" if isinstance(first, str) else "token lists" if isinstance(first, list) else "tokens"


def _verify_not_zero(tokens: int) -> int:
    if tokens == 0:
        raise ValueError("expected at least 1, or -1 for as long as the context allows")
    return tokens


AnswerTokens = Annotated[int, Field(ge=-1, le=MAX_TOKENS), AfterValidator(_verify_not_zero)]

Stop = Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


class StreamOptions(Fields):
    """How a stream is sent.

    Attributes:
        include_usage: Send token counts in a last chunk.
        include_obfuscation: OpenAI's; chunks are not padded.
        continuous_usage_stats: vLLM's; token counts are in no other chunk.
    """

    model_config = ConfigDict(extra="forbid")

    include_usage: bool = False
    include_obfuscation: Literal[False] = False
    continuous_usage_stats: Literal[False] = False


class _Body(OpenFields):
    model: Annotated[str, Field(min_length=1, max_length=256, description="Specialization, or `base`.")]
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Field(ge=0, le=1, description="0 takes the likeliest token.")] = 1.0
    top_k: Annotated[int, Field(ge=-1, le=MAX_TOKENS, description="0 and -1: all tokens.")] = 0
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    repeat_penalty: Annotated[float, Field(ge=MIN_REPEAT_PENALTY, le=10)] = 1.0
    repetition_penalty: Annotated[
        float, Field(ge=MIN_REPEAT_PENALTY, le=10, description="vLLM's name of `repeat_penalty`.")
    ] = 1.0
    logit_bias: Annotated[
        dict[Annotated[str, Field(pattern=r"^[0-9]{1,10}$")], Annotated[float, Field(ge=-100, le=100)]],
        BeforeValidator(lambda biases: verify_few(biases, MAX_BIASED)),
    ] = Field(default_factory=dict)
    n: Annotated[int, Field(ge=1, le=MAX_ANSWERS)] = 1
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] = 0.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Annotated[
        Stop | Annotated[list[Stop], Field(max_length=MAX_STOP, fail_fast=True)] | None,
        BeforeValidator(lambda stop: None if stop == "" else stop),
    ] = None
    structured_outputs: StructuredOutputs | None = None
    response_format: ResponseFormat | None = None
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

    def _request(
        self,
        prompt: TextPrompt | TokenPrompt | ChatPrompt,
        max_tokens: int | None,
        logprobs: int | None,
        use: ToolUse = NO_TOOL_USE,
    ) -> CompletionRequest:
        verify_neutral(self.model_extra, REQUEST, REQUEST_HINTS)
        if self.choice_probabilities and self.stream:
            raise InvalidRequestError(
                "'choice_probabilities' is not supported in a stream",
                "leave out 'stream'",
                code="unsupported_parameter",
            )
        choices = () if self.structured_outputs is None else tuple(self.structured_outputs.choice)
        schema = "" if self.response_format is None else self.response_format.to_schema()
        if choices and schema:
            raise InvalidRequestError("expected 'structured_outputs' or 'response_format', found both")
        sampling = Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            choices=choices,
            top_k=max(self.top_k, 0),
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty if self.repeat_penalty != 1 else self.repetition_penalty,
            logit_bias=tuple((int(token), bias) for token, bias in self.logit_bias.items()),
            logprobs=logprobs,
            schema=schema,
        )
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        return CompletionRequest(
            prompt, sampling, max_tokens, stop, self.constrain, self.choice_probabilities, use, self.n
        )


class CompletionBody(_Body):
    """Body of `POST /v1/completions`: one prompt or several, as text or as tokens.

    With `echo` and `logprobs` the prompts are scored, as lm-eval asks of multiple-choice tasks. Then `max_tokens` is 0,
    or 1 for the likeliest next token as well, even one that ends the answer.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "desks", "prompt": "Where is my parcel?", "temperature": 0}]}
    )

    prompt: Annotated[
        Annotated[Text, Tag("text")]
        | Annotated[TokenIds, Tag("tokens")]
        | Annotated[list[Text], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True), Tag("texts")]
        | Annotated[list[TokenIds], Field(min_length=1, max_length=MAX_PROMPTS, fail_fast=True), Tag("token lists")],
        Discriminator(_form_of),
    ]
    max_tokens: Annotated[
        int, Field(ge=-1, le=MAX_TOKENS, description="-1 for as long as the context allows; 0 only with `echo`.")
    ] = _COMPLETION_MAX_TOKENS
    echo: Annotated[
        bool, Field(description="The prompt stands in front of the answer; with `logprobs`, its tokens as well.")
    ] = False
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None

    def to_request(self) -> CompletionRequest:
        """The request that this body describes.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        if self.max_tokens == 0 and not self.echo:
            raise InvalidRequestError(
                "'max_tokens': expected at least 1, or -1; 0 only with 'echo': true", field="max_tokens"
            )
        first, *others = self._prompts()
        if self.choice_probabilities and others:
            raise InvalidRequestError(
                "'choice_probabilities' is not supported for several prompts",
                "send one prompt",
                code="unsupported_parameter",
            )
        request = self._request(first, None if self.max_tokens == -1 else self.max_tokens, self.logprobs)
        return replace(request, more_prompts=tuple(others), echo=self.echo)

    def _prompts(self) -> list[TextPrompt | TokenPrompt]:
        if isinstance(self.prompt, str):
            return [TextPrompt(self.prompt)]
        if tokens := tuple(part for part in self.prompt if isinstance(part, int)):
            return [TokenPrompt(tokens)]
        return [
            TextPrompt(part) if isinstance(part, str) else TokenPrompt(tuple(part))
            for part in self.prompt
            if not isinstance(part, int)
        ]


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
    max_completion_tokens: Annotated[
        AnswerTokens | None,
        Field(description="-1 and null: for as long as the context allows."),
    ] = None
    max_tokens: Annotated[
        AnswerTokens | None,
        Field(description="The older name of `max_completion_tokens`, which wins."),
    ] = None
    logprobs: Annotated[
        bool,
        Field(
            description="How likely each token of the answer's text was. As with OpenAI, a call of a function has "
            "none; where a specialization has codes, `choice_probabilities` says how likely each function was."
        ),
    ] = False
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] = 0
    tools: Tools = Field(
        default=[],
        description="A specialization knows its functions: leave this out, or send just those. Others go into the "
        "prompt, in the way of the model's chat template, and the model writes calls in its own.",
    )
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: Annotated[
        bool, Field(description="With false an answer is one call at most. With true it may be several.")
    ] = True
    chat_template_kwargs: Annotated[dict[str, Any], BeforeValidator(verify_variables)] = Field(
        default={}, description="Variables of the model's chat template, such as Qwen 3's `enable_thinking`."
    )

    def to_request(self) -> CompletionRequest:
        """The request that this body describes.

        Raises:
            InvalidRequestError: It asks for something that is not supported.
        """
        if self.top_logprobs and not self.logprobs:
            raise InvalidRequestError("'top_logprobs' needs 'logprobs': true")
        messages = to_messages(self.messages)
        longest = self.max_completion_tokens or self.max_tokens
        use = tool_use(self.tools, self.tool_choice, messages[-1].role == "tool", self.parallel_tool_calls)
        definitions = tuple(tool.to_definition() for tool in self.tools)
        return self._request(
            ChatPrompt(messages, Rendering(definitions, json.dumps(self.chat_template_kwargs))),
            None if longest == -1 else longest,
            self.top_logprobs if self.logprobs else None,
            use,
        )
