"""What answers look like in OpenAI's responses interface: the response, and the events of its stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.serving.answer_format import Json, TokenCounts, WholeAnswer
from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, Started, TextPiece
from edge_runtime.serving.openai import EVENT_COMMENT, EVENT_STREAM, sse


@dataclass(slots=True)
class ResponsesFormat:
    """The response to one request.

    Attributes:
        id: Without a prefix.
        created: Unix seconds.
        asked: Fields of the request that a response repeats.
        fingerprint: Revision that answers.
        answer: What was streamed so far.
    """

    id: str
    created: int
    asked: Json
    fingerprint: str
    answer: WholeAnswer = field(default_factory=WholeAnswer)
    _sent: int = 0

    @property
    def media_type(self) -> str:
        return EVENT_STREAM

    def whole(
        self,
        answers: Sequence[WholeAnswer],
        usage: TokenCounts,
        choice_probabilities: Mapping[str, float] | None = None,
    ) -> Json:
        (answer,) = answers
        is_cut = answer.reason == "length"
        return {
            **self._response("incomplete" if is_cut else "completed"),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "output": self._items(answer, is_cut),
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def waiting(self) -> str:
        return EVENT_COMMENT

    def chunk(self, event: Event) -> str:
        if isinstance(event, Started):
            return ""
        sent = ""
        if not self._sent:
            for kind in ("created", "in_progress"):
                sent += self._event(f"response.{kind}", response={**self._response("in_progress"), "output": []})
        place, calls = bool(self.answer.text), self.answer.calls
        if isinstance(event, TextPiece) and event.text:
            if not self.answer.text:
                sent += self._open(self._message("", "in_progress") | {"content": []}, 0)
                sent += self._part("added", "")
            sent += self._event(
                "response.output_text.delta", item_id=f"msg_{self.id}", output_index=0, content_index=0,
                delta=event.text, logprobs=[],
            )  # fmt: skip
        elif isinstance(event, CallStarted):
            sent += "" if calls else self._close_text("completed")
            sent += self._open(self._call(FunctionCall(event.name, ""), len(calls), "in_progress"), place + len(calls))
        elif isinstance(event, ArgumentsPiece):
            where = place + len(calls) - 1
            sent += self._event(
                "response.function_call_arguments.delta", item_id=self._call_id("fc", len(calls) - 1),
                output_index=where, delta=event.text,
            )  # fmt: skip
        self.answer.add(event)
        if isinstance(event, CallFinished):
            return sent + self._close_call("completed")
        return sent + (self._close_last() if isinstance(event, Finished) else "")

    def closing(self, usage: TokenCounts) -> str:
        response = self.whole([self.answer], usage)
        return self._event(f"response.{response['status']}", response=response)

    def failure(self, body: Json) -> str:
        error = body["error"]
        return self._event("error", code=error["code"], message=error["message"], param=None)

    def _close_last(self) -> str:
        """The events that end the item which the end of the answer leaves open."""
        answer = self.answer
        if not answer.calls:
            return self._close_text("incomplete" if answer.reason == "length" else "completed")
        return self._close_call("incomplete") if answer.whole_calls < len(answer.calls) else ""

    def _close_call(self, status: str) -> str:
        place, number, call = bool(self.answer.text), len(self.answer.calls) - 1, self.answer.calls[-1]
        done = self._event(
            "response.function_call_arguments.done", item_id=self._call_id("fc", number), name=call.name,
            output_index=place + number, arguments=call.arguments,
        )  # fmt: skip
        return done + self._done(self._call(call, number, status), place + number)

    def _close_text(self, status: str) -> str:
        answer = self.answer
        if not answer.text:
            return ""
        done = self._event(
            "response.output_text.done", item_id=f"msg_{self.id}", output_index=0, content_index=0, text=answer.text,
            logprobs=[],
        )  # fmt: skip
        return done + self._part("done", answer.text) + self._done(self._message(answer.text, status), 0)

    def _open(self, item: Json, place: int) -> str:
        return self._event("response.output_item.added", output_index=place, item=item)

    def _done(self, item: Json, place: int) -> str:
        return self._event("response.output_item.done", output_index=place, item=item)

    def _part(self, what: str, text: str) -> str:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return self._event(
            f"response.content_part.{what}", item_id=f"msg_{self.id}", output_index=0, content_index=0, part=part
        )

    def _event(self, kind: str, **fields: Any) -> str:
        number, self._sent = self._sent, self._sent + 1
        return f"event: {kind}\n" + sse({"type": kind, "sequence_number": number, **fields})

    def _items(self, answer: WholeAnswer, is_cut: bool) -> list[Json]:
        status = "incomplete" if is_cut and not answer.calls else "completed"
        items: list[Json] = [self._message(answer.text, status)] if answer.text or not answer.calls else []
        return items + [
            self._call(call, number, "completed" if number < answer.whole_calls else "incomplete")
            for number, call in enumerate(answer.calls)
        ]

    def _message(self, text: str, status: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {"type": "message", "id": f"msg_{self.id}", "status": status, "role": "assistant", "content": [part]}

    def _call(self, call: FunctionCall, number: int, status: str) -> Json:
        return {
            "type": "function_call",
            "id": self._call_id("fc", number),
            "call_id": self._call_id("call", number),
            "name": call.name,
            "arguments": call.arguments,
            "status": status,
        }

    def _call_id(self, kind: str, number: int) -> str:
        return f"{kind}_{self.id}_{number}"

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": f"resp_{self.id}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "background": False,
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "system_fingerprint": self.fingerprint,
            "metadata": {},
            **self.asked,
        }
