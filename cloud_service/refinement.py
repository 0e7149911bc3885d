"""Refinement: the values, and the port to whoever tunes a recipe's gates or keys on a request's own labelled examples.

`cloud_service.generator` implements the port with torch; tests have a fake of their own. Which examples are held out is
decided in `refine.held_out`, who runs when by `refine.refiner`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cloud_service.errors import InvalidRequestError
from cloud_service.task import Example
from loragen.contract.recipe import Recipe

Stopped = Literal["steps", "budget", "no_gain"]
"""Why a refinement ended: all steps done, the budget used up, or no gain for long."""

MOST_SHOWN = 4

OnProgress = Callable[[int, int], None]
"""Called with the pieces of work that are done and those in all; whatever it raises ends the work."""


@dataclass(frozen=True, slots=True)
class RefinePlan:
    """How long to tune.

    Attributes:
        steps: Most steps of gradient; keys of a closed set take as many as they need.
        budget_seconds: Longest time, in which the best so far is returned.
    """

    steps: int
    budget_seconds: float


@dataclass(frozen=True, slots=True)
class ExampleScore:
    """How well examples are answered that nothing was tuned on.

    Attributes:
        right: Share of them that greedy decoding answers exactly, in [0, 1]; with codes, among the codes.
        loss: Cross entropy of an answer, in nats a token; with codes, of its code among the codes. Mean over examples.
    """

    right: float
    loss: float

    def is_better_than(self, other: "ExampleScore") -> bool:
        """Whether more is right, or as much with less loss."""
        return (self.right, -self.loss) > (other.right, -other.loss)


@dataclass(frozen=True, slots=True)
class RefinementOutcome:
    """What a refinement came to.

    Attributes:
        tuned: What was tuned: the keys of a closed set's choices, or gates.
        kept: Whether held-out examples got better; without, the recipe is the one-pass one.
        examples: Different examples that were used.
        held_out: How many of them were held out: of a closed set each in turn, else a part.
        before: Held-out score of the one-pass recipe.
        after: That of the recipe that is returned.
        steps: Steps taken; for keys, problems solved.
        seconds: Time taken.
        stopped: Why it ended.
    """

    tuned: Literal["keys", "gates"]
    kept: bool
    examples: int
    held_out: int
    before: ExampleScore
    after: ExampleScore
    steps: int
    seconds: float
    stopped: Stopped


def ignore_progress(done: int, total: int) -> None:
    """Does nothing."""


def shown_examples(examples: Sequence[Example]) -> int:
    """How many of the first examples the generator reads: few, since those are never held out."""
    return min(MOST_SHOWN, len({example.input for example in examples}) // 4)


def example_too_long(number: int, limit: int, found: int) -> InvalidRequestError:
    """The refusal of an example; numbers count from 0 as in the request."""
    return InvalidRequestError(
        f"examples.{number}: expected at most {limit} tokens with the output, found {found}",
        "shorten or leave out the example, or ask without refine",
        code="example_too_long",
    )


class EdgeTuner(Protocol):
    """The edge model in memory, ready to tune what acts on it. Calls block; one thread at a time makes them."""

    def use_threads(self, count: int) -> None:
        """Let the calling thread compute with so many threads from now on, and leave those of others alone."""
        ...

    def refine(
        self, recipe: Recipe, examples: Sequence[Example], shown: int, plan: RefinePlan, on_progress: OnProgress
    ) -> tuple[Recipe, RefinementOutcome]:
        """A recipe that answers held-out examples at least as well as the given one.

        Args:
            recipe: Of a generator whose bank the tuner has.
            examples: Different ones, at least `limits.MIN_REFINE_EXAMPLES`; under a contract with codes each output is
                one of its options, or a call of one, or several calls: then the first counts.
            shown: So many of the first were read by the generator; they are never held out.
            plan: How long to tune.
            on_progress: Called between steps.

        Raises:
            InvalidRequestError: An example does not fit the edge model's context.
        """
        ...


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a generator brings for refinement.

    Attributes:
        load: Loads the edge model: seconds, and memory.
        count_tokens: Length of a text in tokens of the edge model; may be called on any thread.
    """

    load: Callable[[], EdgeTuner]
    count_tokens: Callable[[str], int]
