"""What answers look like to OpenAI's clients: bodies, stream chunks, model entries and errors, as JSON-ready values.

The shape is OpenAI's. Added to it: `system_fingerprint` names the revision that answered, an answer may carry
`choice_probabilities`, model entries say how their LoRA is applied and what their answers may look like, errors carry
`hint` and `request_id`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import BaseModel

from loragen.device_answers import ServedModel
from loragen.web.answers import ErrorDetail

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


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What all parts of one answer share.

    Attributes:
        kind: `text` for /v1/completions, `chat` for /v1/chat/completions.
        created: Unix seconds.
        fingerprint: Revision that answers.
    """

    kind: Literal["text", "chat"]
    id: str
    created: int
    model: str
    fingerprint: str

    def whole(
        self, text: str, finish_reason: str, usage: Usage, choice_probabilities: Mapping[str, float] | None = None
    ) -> Json:
        """The body of an answer that is not streamed."""
        content = {"text": text} if self.kind == "text" else {"message": {"role": "assistant", "content": text}}
        kind = "text_completion" if self.kind == "text" else "chat.completion"
        choice = self._choice(content, finish_reason)
        if choice_probabilities is not None:
            choice = {**choice, "choice_probabilities": choice_probabilities}
        return {**self._head(kind), "choices": [choice], "usage": usage.to_json()}

    def opening(self) -> str:
        """First event of a stream: in a chat it says who speaks; elsewhere there is none."""
        return "" if self.kind == "text" else self._chunk({"delta": {"role": "assistant", "content": ""}}, None)

    def delta(self, text: str) -> str:
        """Event with the next piece of text."""
        return self._chunk({"text": text} if self.kind == "text" else {"delta": {"content": text}}, None)

    def closing(self, finish_reason: str, usage: Usage | None) -> str:
        """Last events of a stream, with the token counts when they were asked for."""
        last = self._chunk({"text": ""} if self.kind == "text" else {"delta": {}}, finish_reason)
        if usage is not None:
            last += sse({**self._head(self._chunk_kind), "choices": [], "usage": usage.to_json()})
        return last + STREAM_END

    @property
    def _chunk_kind(self) -> str:
        return "text_completion" if self.kind == "text" else "chat.completion.chunk"

    def _chunk(self, content: Json, finish_reason: str | None) -> str:
        return sse({**self._head(self._chunk_kind), "choices": [self._choice(content, finish_reason)]})

    def _choice(self, content: Json, finish_reason: str | None) -> Json:
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish_reason}

    def _head(self, kind: str) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
        }


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
