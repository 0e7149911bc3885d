"""Rules: how one task is measured on a device, three ways over the same held-out inputs.

*base* is the edge model given the input only, *prompted* has the whole system prompt before it, *specialized* is the
merged model given the input only. Where the answers are a closed set, prompted and specialized run again *guided*: each
request names the answers possible. One way runs after the other, so that a device that caches prompt prefixes helps the
prompted way as much as it can. An answer counts when it equals the expected one, white space around it and case aside.
"""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from demo.clients import Answer
from demo.tasks import DemoTask

BASE_MODEL = "base"


class Device(Protocol):
    """What an evaluation asks of a device."""

    def answer(
        self, model: str, user: str, max_tokens: int, system: str | None = None, choices: Sequence[str] = ()
    ) -> Answer:
        """One greedy answer of a model to a user's input, one of the choices where there are any."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """One way's outcome over all inputs of a task.

    Attributes:
        accuracy: Share of right answers.
        input_tokens: Median length of what the model read, in tokens.
        latency_ms: Median time of one request, in milliseconds.
    """

    accuracy: float
    input_tokens: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The ways side by side; the guided ones are None where the answers are an open set."""

    base: Score
    prompted: Score
    specialized: Score
    guided_prompted: Score | None = None
    guided_specialized: Score | None = None


def is_right(answer: str, expected: str) -> bool:
    """Exact match, white space at the ends and case aside."""
    return answer.strip().casefold() == expected.strip().casefold()


def evaluate(task: DemoTask, device: Device, progress: Callable[[], None] = lambda: None) -> Evaluation:
    """Runs every input of a task through a device in each way; `progress` is called after each answer."""

    def run(model: str, system: str | None, choices: Sequence[str] = ()) -> Score:
        # The first request may load the model, or fill the prefix cache; it is not what a user waits for later.
        device.answer(model, task.cases[0].input, task.max_tokens, system, choices)
        answers = []
        for case in task.cases:
            answers.append(device.answer(model, case.input, task.max_tokens, system, choices))
            progress()
        right = [is_right(answer.text, case.output) for answer, case in zip(answers, task.cases, strict=True)]
        return Score(
            accuracy=statistics.fmean(right),
            input_tokens=statistics.median(answer.prompt_tokens for answer in answers),
            latency_ms=1000 * statistics.median(answer.seconds for answer in answers),
        )

    return Evaluation(
        base=run(BASE_MODEL, None),
        prompted=run(BASE_MODEL, task.prompt),
        specialized=run(task.name, None),
        guided_prompted=run(BASE_MODEL, task.prompt, task.choices) if task.choices else None,
        guided_specialized=run(task.name, None, task.choices) if task.choices else None,
    )
