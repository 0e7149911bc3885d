"""What answers look like to Ollama's clients: bodies, and streams with one JSON object a line."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from edge_runtime.serving.answer_format import Json, TokenCounts, WholeAnswer
from edge_runtime.serving.call_forms import OWN_FORM
from edge_runtime.serving.events import Event, TextPiece
from edge_runtime.serving.json_text import json_text
from loragen.device_answers import ServedModel


@dataclass(slots=True)
class OllamaFormat:
    """The answer to one request.

    Attributes:
        kind: `chat` for /api/chat, `generate` for /api/generate, where a call is a text.
        started: Monotonic seconds at the arrival of the request.
        answer: What was streamed so far.
    """

    kind: Literal["chat", "generate"]
    model: str
    started: float
    answer: WholeAnswer = field(default_factory=WholeAnswer)

    @property
    def media_type(self) -> str:
        return "application/x-ndjson"

    def whole(
        self,
        answers: Sequence[WholeAnswer],
        usage: TokenCounts,
        choice_probabilities: Mapping[str, float] | None = None,
    ) -> Json:
        (answer,) = answers
        return self._last(answer.text, answer, usage)

    def waiting(self) -> str:
        return self._line({**self._said(""), "done": False})

    def chunk(self, event: Event) -> str:
        self.answer.add(event)
        # Calls are sent when they are whole, as Ollama does.
        return self._line({**self._said(event.text), "done": False}) if isinstance(event, TextPiece) else ""

    def closing(self, usage: TokenCounts) -> str:
        return self._line(self._last("", self.answer, usage))

    def failure(self, body: Json) -> str:
        return self._line({"error": body["error"]["message"]})

    def without_answer(self, done: Literal["load", "unload"]) -> Json:
        """The answer to a request that asks for nothing but the model, or for its end."""
        return {**self._said(""), "done": True, "done_reason": done}

    def _last(self, text: str, answer: WholeAnswer, usage: TokenCounts) -> Json:
        total = time.monotonic() - self.started
        return {
            **self._said(text, answer),
            "done": True,
            "done_reason": "length" if answer.reason == "length" else "stop",
            "total_duration": _nanoseconds(total),
            "load_duration": 0,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": _nanoseconds(total - usage.decode_seconds),
            "eval_count": usage.completion_tokens,
            "eval_duration": _nanoseconds(usage.decode_seconds),
        }

    def _said(self, text: str, answer: WholeAnswer | None = None) -> dict[str, Any]:
        head = {"model": self.model, "created_at": datetime.now(UTC).isoformat()}
        calls = [] if answer is None else answer.calls[: answer.whole_calls]
        if self.kind == "generate":
            return {**head, "response": "\n".join([*filter(None, [text]), *map(OWN_FORM.text_of, calls)])}
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": json.loads(call.arguments)}} for call in calls
            ]
        return {**head, "message": message}

    def _line(self, fields: Json) -> str:
        return json_text(fields, compact=True) + "\n"


class OllamaError(BaseModel):
    """The body of an error: Ollama's, with what the other errors of this server say."""

    error: str
    code: str
    hint: str
    request_id: str
    type: str
    param: str | None


def tag_entry(model: ServedModel, base_digest: str) -> Json:
    """One entry of `GET /api/tags`.

    Args:
        model: What is listed.
        base_digest: Stands for what no bundle is in; Ollama's command line cuts the first twelve characters of each.
    """
    return {
        "name": model.id,
        "model": model.id,
        "modified_at": datetime.fromtimestamp(model.created, UTC).isoformat(),
        "size": 0,
        "digest": model.bundle_id or base_digest,
        "details": {"format": "gguf", "family": "", "parameter_size": "", "quantization_level": ""},
    }


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
