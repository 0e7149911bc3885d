"""What answers look like to OpenAI's clients: bodies, stream chunks, model entries and errors, as JSON-ready values.

The shape is OpenAI's. Added to it: `system_fingerprint` names the revision that answered, an answer may carry
`choice_probabilities`, model entries say how their LoRA is applied and what their answers may look like, errors carry
`hint` and `request_id`.
"""

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import BaseModel

from edge_runtime.serving.answer_format import Json, TokenCounts, WholeAnswer
from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.engine import Likelihood, Token
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, Started, TextPiece
from edge_runtime.serving.json_text import json_text
from loragen.device_answers import ServedModel
from loragen.web.error_answers import ErrorDetail

STREAM_END = "data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream"
EVENT_COMMENT = ": waiting\n\n"


class _TextOffsets:
    """Where tokens stand in a text, in characters. Tokens that share a character stand where it begins."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._length = 0

    def next(self, piece: bytes) -> int:
        """Where the token stands that adds this to the text."""
        offset, self._length = self._length, self._length + len(self._decoder.decode(piece))
        return offset


@dataclass(frozen=True, slots=True)
class CompletionFormat:
    """What all parts of the answers to one request share.

    Attributes:
        kind: `text` for /v1/completions, `chat` for /v1/chat/completions.
        created: Unix seconds.
        fingerprint: Revision that answers.
        reports_usage: A stream ends with the token counts.
        opened: Answers of a stream that have begun.
        offsets: Where the next token of each of them stands in its text.
    """

    kind: Literal["text", "chat"]
    id: str
    created: int
    model: str
    fingerprint: str
    reports_usage: bool = False
    opened: set[int] = field(default_factory=set)
    offsets: dict[int, _TextOffsets] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        return EVENT_STREAM

    def whole(
        self,
        answers: Sequence[WholeAnswer],
        usage: TokenCounts,
        choice_probabilities: Mapping[str, float] | None = None,
    ) -> Json:
        choices = []
        for index, answer in enumerate(answers):
            content = {"text": answer.text} if self.kind == "text" else {"message": self._message(answer, index)}
            choice = self._choice(index, content, answer.reason, answer.tokens)
            if choice_probabilities is not None:
                choice = {**choice, "choice_probabilities": choice_probabilities}
            choices.append(choice)
        kind = "text_completion" if self.kind == "text" else "chat.completion"
        return {**self._head(kind), "choices": choices, "usage": _usage(usage)}

    def chunk(self, event: Event) -> str:
        # In a chat the first piece of an answer says who speaks.
        if isinstance(event, Started | CallFinished):
            return ""
        index = event.index
        said = {} if index in self.opened or self.kind == "text" else {"role": "assistant", "content": ""}
        self.opened.add(index)
        match event:
            case CallStarted(name, _, number):
                call = {"index": number, **self._call(index, number, FunctionCall(name, ""))}
                return self._delta(index, {**said, "content": None, "tool_calls": [call]})
            case ArgumentsPiece(text, _, number):
                return self._delta(index, {"tool_calls": [{"index": number, "function": {"arguments": text}}]})
            case TextPiece(text, _, tokens):
                opening = self._delta(index, said) if said else ""
                return opening + self._delta(index, {"content": text}, tokens)
            case Finished(reason, _, _):
                opening = self._delta(index, said) if said else ""
                last: Json = {"text": ""} if self.kind == "text" else {"delta": {}}
                return opening + self._chunk(index, last, reason)

    def waiting(self) -> str:
        return EVENT_COMMENT

    def closing(self, usage: TokenCounts) -> str:
        if not self.reports_usage:
            return STREAM_END
        return sse({**self._head(self._chunk_kind), "choices": [], "usage": _usage(usage)}) + STREAM_END

    def failure(self, body: Json) -> str:
        return sse(body)

    def _message(self, answer: WholeAnswer, index: int) -> Json:
        if not answer.calls:
            return {"role": "assistant", "content": answer.text}
        return {
            "role": "assistant",
            "content": answer.text.strip() or None,
            "tool_calls": [self._call(index, number, call) for number, call in enumerate(answer.calls)],
        }

    def _call(self, index: int, number: int, call: FunctionCall) -> Json:
        place = f"_{index}_{number}" if index or number else ""
        call_id = f"call_{self.id.partition('-')[2]}{place}"
        return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}

    @property
    def _chunk_kind(self) -> str:
        return "text_completion" if self.kind == "text" else "chat.completion.chunk"

    def _delta(self, index: int, delta: Json, tokens: Sequence[Token] = ()) -> str:
        content = {"text": delta["content"]} if self.kind == "text" else {"delta": delta}
        return self._chunk(index, content, None, tokens)

    def _chunk(self, index: int, content: Json, finish_reason: str | None, tokens: Sequence[Token] = ()) -> str:
        body = {**self._head(self._chunk_kind), "choices": [self._choice(index, content, finish_reason, tokens)]}
        # As with OpenAI, a client that asked for the counts finds the field in each chunk.
        return sse({**body, "usage": None} if self.reports_usage else body)

    def _choice(self, index: int, content: Json, finish_reason: str | None, tokens: Sequence[Token]) -> Json:
        logprobs = None
        if tokens and self.kind == "chat":
            logprobs = _chat_logprobs(tokens)
        elif tokens:
            logprobs = _text_logprobs(tokens, self.offsets.setdefault(index, _TextOffsets()))
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": finish_reason}

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


def _usage(usage: TokenCounts) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
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


def _text_logprobs(tokens: Sequence[Token], offsets: _TextOffsets) -> Json:
    pieces = [token.piece if token.likelihood is None else token.likelihood.piece for token in tokens]
    return {
        "tokens": [_token_text(piece) for piece in pieces],
        "token_logprobs": [None if token.likelihood is None else token.likelihood.logprob for token in tokens],
        # The token itself is among them, as with OpenAI, where the likeliest ones are others.
        "top_logprobs": [
            None
            if token.likelihood is None
            else {_token_text(each.piece): each.logprob for each in (*token.likeliest, token.likelihood)}
            for token in tokens
        ],
        "text_offset": [offsets.next(token.piece) for token in tokens],
    }


def _token_text(piece: bytes) -> str:
    """A token's text; a part of a character is shown as its bytes, as with OpenAI, so that no two look the same."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def sse(body: Json) -> str:
    """One server-sent event.

    An event of ours is one line of JSON in a stream that never pauses for long: sse-starlette would add nothing.
    """
    return f"data: {json_text(body, compact=True)}\n\n"


def model_entry(model: ServedModel) -> Json:
    """One entry of `GET /v1/models`."""
    return {"object": "model", "owned_by": "loragen", **asdict(model)}


class TypedErrorDetail(ErrorDetail):
    """What went wrong and what to do about it; `type` is there for OpenAI's clients, and so is the field at fault."""

    type: str
    param: str | None


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: TypedErrorDetail
