"""Rules: how one task is measured on a device, in several ways over the same held-out inputs.

*base* is the edge model given the input only, *prompted* has the whole system prompt before it, *specialized* is the
merged model given the input only; where its task names a closed set, it answers one of that. So there prompted runs
again *guided*: each request names the answers possible. One way runs after the other, so that a device that caches
prompt prefixes helps the prompted way as much as it can. An answer counts when it equals the expected one, white space
around it and case aside; of a function call, the function and all its arguments count.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from demo.tasks import DemoTask
from loragen import DeviceClient
from loragen.client.device_answers import Completion

BASE_MODEL = "base"

FIRST_TOKENS = 6
"""Inputs with which the time to the first token is measured, of the two ways that the table compares."""


@dataclass(frozen=True, slots=True)
class DemoWay:
    """How a task is asked: of which model, behind which system prompt, with which answers named; and whether timed."""

    model: str
    system: str | None = None
    choices: Sequence[str] = ()
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """One way's outcome over all inputs of a task.

    Attributes:
        accuracy: Share of right answers.
        input_tokens: Median length of what the model read, in tokens.
        latency_ms: Median time of one request, in milliseconds, by the client's clock.
        first_token_ms: The same until the first token: of requests for one token alone. None where it is not measured.
    """

    accuracy: float
    input_tokens: float
    latency_ms: float
    first_token_ms: float | None


def ways_of(task: DemoTask) -> Mapping[str, DemoWay]:
    """The ways in which a task is measured, by name."""
    ways = {
        "base": DemoWay(BASE_MODEL),
        "prompted": DemoWay(BASE_MODEL, task.prompt, timed=True),
        "specialized": DemoWay(task.name, timed=True),
    }
    if task.choices:
        ways["guided"] = DemoWay(BASE_MODEL, task.prompt, task.choices)
    return ways


def is_right(answer: str, expected: str) -> bool:
    """Exact match, white space at the ends, case, and the layout of JSON aside."""
    return _canonical(answer) == _canonical(expected)


def _canonical(text: str) -> str:
    plain = text.strip().casefold()
    try:
        return json.dumps(json.loads(plain), sort_keys=True)
    except ValueError:
        return plain


def evaluate(task: DemoTask, device: DeviceClient, progress: Callable[[], None] = lambda: None) -> Mapping[str, Score]:
    """Run every input of a task through a device in each way; `progress` is called after each answer."""
    return {name: _score(task, way, device, progress) for name, way in ways_of(task).items()}


def _score(task: DemoTask, way: DemoWay, device: DeviceClient, progress: Callable[[], None]) -> Score:
    right, tokens, milliseconds = [], [], []

    def ask(text: str, max_tokens: int) -> tuple[Completion, float]:
        started = time.perf_counter()
        answer = device.chat(
            way.model, text, system=way.system, temperature=0, max_tokens=max_tokens, choices=way.choices
        )
        return answer, 1000 * (time.perf_counter() - started)

    # The first answer may load the model, or fill the prefix cache: it is not what a user waits for later.
    for number, case in enumerate((task.cases[0], *task.cases)):
        answer, taken = ask(case.input, task.max_tokens)
        if number > 0:
            milliseconds.append(taken)
            tokens.append(answer.usage.prompt_tokens)
            right.append(is_right(answer.as_text, case.output))
            progress()
    first = [ask(case.input, 1)[1] for case in task.cases[:FIRST_TOKENS]] if way.timed else []
    return Score(
        statistics.fmean(right),
        float(statistics.median(tokens)),
        statistics.median(milliseconds),
        statistics.median(first) if first else None,
    )
