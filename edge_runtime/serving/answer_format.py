"""The port between an answer on its way and what its client reads: OpenAI's completions and responses, or Ollama's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.engine import Token
from edge_runtime.serving.events import ArgumentsPiece, CallFinished, CallStarted, Event, Finished, TextPiece

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Token counts of one answer, and what it took.

    Attributes:
        cached_tokens: Tokens of the prompt that were not computed again.
        decode_seconds: From the end of the prompt to the end of the answer.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    decode_seconds: float = 0.0


@dataclass(slots=True)
class WholeAnswer:
    """One answer, put together from its events.

    Attributes:
        calls: Names and arguments of the functions that it calls.
        whole_calls: How many of them are whole: all, or all but the last.
        tokens: Of the text, where their likelihood was asked for.
    """

    text: str = ""
    calls: list[FunctionCall] = field(default_factory=list)
    whole_calls: int = 0
    reason: str = ""
    tokens: list[Token] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextPiece(text, _, tokens):
                self.text += text
                self.tokens += tokens
            case CallStarted(name):
                self.calls.append(FunctionCall(name, ""))
            case ArgumentsPiece(text):
                self.calls[-1] = replace(self.calls[-1], arguments=self.calls[-1].arguments + text)
            case CallFinished():
                self.whole_calls += 1
            case Finished(reason, _, _):
                self.reason = reason


class AnswerFormat(Protocol):
    """What one client gets; made for one request."""

    @property
    def media_type(self) -> str:
        """Of a stream."""
        ...

    def whole(
        self,
        answers: Sequence[WholeAnswer],
        usage: TokenCounts,
        choice_probabilities: Mapping[str, float] | None = None,
    ) -> Json:
        """The body of answers that are not streamed."""
        ...

    def waiting(self) -> str:
        """What keeps a stream open before its first token."""
        ...

    def chunk(self, event: Event) -> str:
        """The part of a stream that says what happened."""
        ...

    def closing(self, usage: TokenCounts) -> str:
        """The end of a stream."""
        ...

    def failure(self, body: Json) -> str:
        """The end of a stream that failed; `body` is that of an error."""
        ...
