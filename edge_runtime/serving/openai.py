"""What answers look like to OpenAI's clients: bodies, stream chunks, model entries and errors, as JSON-ready values.

The shape is OpenAI's. Added to it: `system_fingerprint` names the revision that answered, an answer may carry
`choice_probabilities`, model entries say how their LoRA is applied and what their answers may look like, errors carry
`hint` and `request_id`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel

from edge_runtime.serving.engine import Likelihood, Token
from edge_runtime.serving.events import ArgumentsPiece, CallStarted, Event, Finished, Started, TextPiece
from loragen.device_answers import ServedModel
from loragen.web.error_answers import ErrorDetail

Json = Mapping[str, Any]

STREAM_END = "data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one answer; `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int

    def to_json(self) -> Json:
        """OpenAI's `usage`."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


@dataclass(slots=True)
class WholeAnswer:
    """One answer, put together from its events.

    Attributes:
        function: The function that it calls; empty for none.
        arguments: Of that call.
        tokens: Of the text, where their likelihood was asked for.
    """

    text: str = ""
    function: str = ""
    arguments: str = ""
    reason: str = ""
    tokens: list[Token] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextPiece(text, _, tokens):
                self.text += text
                self.tokens += tokens
            case CallStarted(name, _):
                self.function = name
            case ArgumentsPiece(text, _):
                self.arguments += text
            case Finished(reason, _, _):
                self.reason = reason


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What all parts of the answers to one request share.

    Attributes:
        kind: `text` for /v1/completions, `chat` for /v1/chat/completions.
        created: Unix seconds.
        fingerprint: Revision that answers.
        opened: Answers of a stream that have begun.
    """

    kind: Literal["text", "chat"]
    id: str
    created: int
    model: str
    fingerprint: str
    opened: set[int] = field(default_factory=set)

    def whole(
        self, answers: Sequence[WholeAnswer], usage: Usage, choice_probabilities: Mapping[str, float] | None = None
    ) -> Json:
        """The body of answers that are not streamed."""
        choices = []
        for index, answer in enumerate(answers):
            content = {"text": answer.text} if self.kind == "text" else {"message": self._message(answer, index)}
            choice = self._choice(index, content, answer.reason, answer.tokens)
            if choice_probabilities is not None:
                choice = {**choice, "choice_probabilities": choice_probabilities}
            choices.append(choice)
        kind = "text_completion" if self.kind == "text" else "chat.completion"
        return {**self._head(kind), "choices": choices, "usage": usage.to_json()}

    def chunk(self, event: Event) -> str:
        """The events of a stream that say what happened; in a chat the first of an answer says who speaks."""
        if isinstance(event, Started):
            return ""
        index = event.index
        said = {} if index in self.opened or self.kind == "text" else {"role": "assistant", "content": ""}
        self.opened.add(index)
        match event:
            case CallStarted(name, _):
                return self._delta(index, {**said, "content": None, "tool_calls": [self._call(index, name, "", 0)]})
            case ArgumentsPiece(text, _):
                return self._delta(index, {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
            case TextPiece(text, _, tokens):
                opening = self._delta(index, said) if said else ""
                return opening + self._delta(index, {"content": text}, tokens)
            case Finished(reason, _, _):
                opening = self._delta(index, said) if said else ""
                last: Json = {"text": ""} if self.kind == "text" else {"delta": {}}
                return opening + self._chunk(index, last, reason)

    def closing(self, usage: Usage | None) -> str:
        """The end of a stream, with the token counts when they were asked for."""
        if usage is None:
            return STREAM_END
        return sse({**self._head(self._chunk_kind), "choices": [], "usage": usage.to_json()}) + STREAM_END

    def _message(self, answer: WholeAnswer, index: int) -> Json:
        if not answer.function:
            return {"role": "assistant", "content": answer.text}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [self._call(index, answer.function, answer.arguments)],
        }

    def _call(self, index: int, name: str, arguments: str, place: int | None = None) -> Json:
        where = {} if place is None else {"index": place}
        call_id = f"call_{self.id.partition('-')[2]}{index or ''}"
        return {**where, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    @property
    def _chunk_kind(self) -> str:
        return "text_completion" if self.kind == "text" else "chat.completion.chunk"

    def _delta(self, index: int, delta: Json, tokens: Sequence[Token] = ()) -> str:
        content = {"text": delta["content"]} if self.kind == "text" else {"delta": delta}
        return self._chunk(index, content, None, tokens)

    def _chunk(self, index: int, content: Json, finish_reason: str | None, tokens: Sequence[Token] = ()) -> str:
        return sse({**self._head(self._chunk_kind), "choices": [self._choice(index, content, finish_reason, tokens)]})

    def _choice(self, index: int, content: Json, finish_reason: str | None, tokens: Sequence[Token]) -> Json:
        logprobs = None if not tokens else _chat_logprobs(tokens) if self.kind == "chat" else _text_logprobs(tokens)
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish_reason}

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def _chat_logprobs(tokens: Sequence[Token]) -> Json:
    def entry(likelihood: Likelihood) -> dict[str, Any]:
        piece = likelihood.piece
        return {"token": piece.decode("utf-8", "replace"), "logprob": likelihood.logprob, "bytes": list(piece)}

    return {
        "content": [
            {**entry(token.likelihood), "top_logprobs": [entry(each) for each in token.likeliest]}
            for token in tokens
            if token.likelihood is not None
        ],
        "refusal": None,
    }


def _text_logprobs(tokens: Sequence[Token]) -> Json:
    pieces = [token.piece if token.likelihood is None else token.likelihood.piece for token in tokens]
    lengths = (len(piece.decode("utf-8", "replace")) for piece in pieces)
    return {
        "tokens": [_token_text(piece) for piece in pieces],
        "token_logprobs": [None if token.likelihood is None else token.likelihood.logprob for token in tokens],
        "top_logprobs": [
            None if token.likelihood is None else {_token_text(each.piece): each.logprob for each in token.likeliest}
            for token in tokens
        ],
        "text_offset": [0, *accumulate(lengths)][:-1],
    }


def _token_text(piece: bytes) -> str:
    """A token's text; a part of a character is told by its bytes, as with OpenAI, so that no two look the same."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def sse(body: Json) -> str:
    """One server-sent event.

    An event of ours is one line of JSON in a stream that never pauses for long: sse-starlette would add nothing.
    """
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n"


def model_entry(model: ServedModel) -> Json:
    """One entry of `GET /v1/models`."""
    return {"object": "model", "owned_by": "loragen", **asdict(model)}


class TypedErrorDetail(ErrorDetail):
    """What went wrong and what to do about it; `type` is there for OpenAI's clients."""

    type: str


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: TypedErrorDetail
