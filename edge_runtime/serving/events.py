"""Values: what happens while a request is answered, in order.

`Started`; then for each answer that was asked for its text and its calls: any number of `TextPiece`; for each call one
`CallStarted`, any number of `ArgumentsPiece`, and `CallFinished` unless the end of the answer cut it; and `Finished`.
No text comes behind a call. `index` says which answer it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edge_runtime.serving.engine import Token


@dataclass(frozen=True, slots=True)
class Started:
    """The prompt is in the context; the next event carries text.

    Attributes:
        cached_tokens: Leading prompt tokens that were still there from the request before.
        choice_probabilities: Of each choice, where they were asked for.
    """

    prompt_tokens: int
    cached_tokens: int
    choice_probabilities: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next piece of an answer.

    Attributes:
        tokens: What it is made of, where their likelihood was asked for.
    """

    text: str
    index: int = 0
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call of this function begins.

    Attributes:
        number: Which call of this answer it is, from 0.
    """

    name: str
    index: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class ArgumentsPiece:
    """The next piece of the arguments of call `number`, which are JSON."""

    text: str
    index: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class CallFinished:
    """Call `number` is whole."""

    index: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """An answer is complete.

    Attributes:
        reason: `length` when its greatest length cut it; whole calls may be in front of the cut.
    """

    reason: Literal["stop", "length", "tool_calls"]
    completion_tokens: int
    index: int = 0


Event = Started | TextPiece | CallStarted | ArgumentsPiece | CallFinished | Finished
