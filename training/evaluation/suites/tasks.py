"""Values: one task of a suite, with the descriptions and inputs that every column is scored on.

A task is fixed: its answers, its labels and its inputs are the same under each of its descriptions, so that base and
oracle are one number for all of them. Which tasks a suite holds belongs to the modules beside this one.
"""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cloud_service.task import Example, TaskDescription
from training.data.episodes import Instance

Metric = Literal["exact", "rouge_l", "choice"]
"""`exact`: the greedy answer is the expected one; `rouge_l`: of the greedy answer; `choice`: the likeliest choice."""

MOST_PRACTICE = 512
MOST_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """A task with everything needed to score it.

    Attributes:
        name: Suite's family and task, for tables.
        samples: Descriptions of the same task: the first without examples, the others in other words and with examples.
        instances: Inputs with the answers expected; none of them is an example of a sample.
        practice: Instances from the training split: the oracle's training data and the source of examples.
        choices: For each instance, the answers possible; empty when the set is open.
        metric: How an answer is scored.
        group: Tasks of one group ask different things of the same inputs; empty for none.
    """

    name: str
    samples: tuple[TaskDescription, ...]
    instances: tuple[Instance, ...]
    practice: tuple[Instance, ...]
    choices: tuple[tuple[str, ...], ...] = ()
    metric: Metric = "exact"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Suite:
    """Tasks whose scores are averaged.

    Attributes:
        fixed_tasks: The tasks are all there are, not a sample of many: intervals are over inputs.
        by_likelihood: Scored by the likelihood of choices alone. The device does not give likelihoods, so the suite is
            never served. It has no oracles, and also a harmonic mean over tasks, as in the paper.
        grouped: Groups of tasks have the same inputs; as many oracles are trained as there is time for.
        chance: What ignoring the description can give, where that is known.
    """

    name: str
    tasks: tuple[SuiteTask, ...]
    fixed_tasks: bool = False
    by_likelihood: bool = False
    grouped: bool = False
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class SuiteSizes:
    """How much is scored.

    Attributes:
        tasks: Tasks in one suite, at most.
        samples: Description samples of a task.
        inputs: Inputs of a task, at most; `reasoning` takes `reasoning_inputs`.
    """

    tasks: int = 16
    samples: int = 3
    inputs: int = 12
    reasoning_inputs: int = 32


def make_task(
    rng: random.Random,
    name: str,
    describe: Callable[[random.Random], TaskDescription],
    instances: Sequence[Instance],
    practice: Sequence[Instance],
    samples: int,
    labels: Sequence[str] = (),
    metric: Metric = "exact",
    group: str = "",
    shots: int | None = None,
) -> SuiteTask:
    """A task with its description samples drawn.

    Args:
        rng: State that decides words and examples.
        name: The task's name.
        describe: Words the task anew, without examples.
        instances: What is scored.
        practice: From the training split; instances that are asked for are left out.
        samples: How many descriptions.
        labels: The closed set of answers, if it is closed.
        metric: How an answer is scored.
        group: Shared by tasks on the same inputs.
        shots: Examples of every sample; by default none in the first, one to four in the others.
    """
    asked = {instance.input for instance in instances}
    usable = [instance for instance in practice if instance.input not in asked]
    usable = rng.sample(usable, min(len(usable), MOST_PRACTICE))
    described = []
    for number in range(samples):
        count = shots if shots is not None else rng.randint(1, MOST_EXAMPLES) if number else 0
        drawn = rng.sample(usable, min(count, len(usable)))
        described.append(replace(describe(rng), examples=tuple(Example(i.input, i.output) for i in drawn)))
    choices = (tuple(labels),) * len(instances) if labels else ()
    return SuiteTask(name, tuple(described), tuple(instances), tuple(usable), choices, metric, group)


def in_order(phrases: Sequence[str], start: int = 0) -> Callable[[random.Random], TaskDescription]:
    """Words a task by the next of the phrases in each call."""
    turn = itertools.count(start)
    return lambda _: TaskDescription(phrases[next(turn) % len(phrases)])


def draw_distinct(rng: random.Random, pool: Sequence[Instance], count: int) -> list[Instance]:
    """Up to `count` instances with different inputs."""
    by_input = {instance.input: instance for instance in pool}
    return rng.sample(list(by_input.values()), min(count, len(by_input)))


def draw_balanced(rng: random.Random, pool: Sequence[Instance], count: int) -> list[Instance]:
    """Up to `count` instances with different inputs, their answers in turn, so that no constant answer scores well."""
    by_answer: dict[str, list[Instance]] = {}
    for instance in draw_distinct(rng, pool, len(pool)):
        by_answer.setdefault(instance.output, []).append(instance)
    columns = [by_answer[answer] for answer in sorted(by_answer)]
    rng.shuffle(columns)
    longest = max(map(len, columns), default=0)
    return [column[row] for row in range(longest) for column in columns if row < len(column)][:count]


def in_turn(rng: random.Random, kinds: Sequence[Sequence[SuiteTask]], count: int) -> tuple[SuiteTask, ...]:
    """Up to `count` tasks, one of each kind in turn, so that a kind with many tasks does not drown the others."""
    shuffled = [rng.sample(list(tasks), len(tasks)) for tasks in kinds]
    longest = max(map(len, shuffled), default=0)
    return tuple(tasks[row] for row in range(longest) for tasks in shuffled if row < len(tasks))[:count]
