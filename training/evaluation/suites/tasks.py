"""Values: one task of a suite, with the description and the inputs that every column is scored on.

Which tasks a suite holds belongs to the modules beside this one.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cloud_service.task import Example, TaskDescription
from training.data.episodes import Instance

Metric = Literal["exact", "rouge_l", "call"]
"""`exact`: the answer is the expected one; `rouge_l`: of the answer; `call`: the same name and the same arguments."""

MOST_PRACTICE = 512
MOST_EXAMPLES = 4


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """A task with everything needed to score it.

    Attributes:
        name: Suite's family and task, for tables.
        description: What the cloud model reads, or the edge model as a prompt; half of them have examples.
        instances: Inputs with the answers expected; none of them is an example of the description.
        practice: Instances from the training split: the oracle's training data and the source of examples; empty where
            there is none.
        choices: For each instance, the answers possible; empty when the set is open.
        metric: How an answer is scored.
        group: Tasks of one group ask different things of the same inputs; empty for none.
    """

    name: str
    description: TaskDescription
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
        chance: What ignoring the description can give for some of its tasks; None where that is not known.
    """

    name: str
    tasks: tuple[SuiteTask, ...]
    fixed_tasks: bool
    chance: Callable[[Sequence[SuiteTask]], float | None]


@dataclass(frozen=True, slots=True)
class SuiteSizes:
    """How much is scored.

    Attributes:
        tasks: Tasks in one suite, at most.
        inputs: Inputs of a task, at most; `reasoning`, which has few tasks, takes `reasoning_inputs`.
    """

    tasks: int = 24
    inputs: int = 6
    reasoning_inputs: int = 12


def make_task(
    rng: random.Random,
    name: str,
    describe: Callable[[random.Random], TaskDescription],
    instances: Sequence[Instance],
    practice: Sequence[Instance],
    labels: Sequence[str] = (),
    metric: Metric = "exact",
    group: str = "",
    shots: int | None = None,
) -> SuiteTask:
    """A task with its description drawn.

    Args:
        rng: State that decides words and examples.
        name: The task's name.
        describe: Words the task, without examples.
        instances: What is scored.
        practice: From the training split; instances that are asked for are left out.
        labels: The closed set of answers, if it is closed.
        metric: How an answer is scored.
        group: Shared by tasks on the same inputs.
        shots: Examples of the description; by default none in half of all tasks, one to four in the others.
    """
    asked = {instance.input for instance in instances}
    usable = [instance for instance in practice if instance.input not in asked]
    usable = rng.sample(usable, min(len(usable), MOST_PRACTICE))
    count = shots if shots is not None else rng.randint(1, MOST_EXAMPLES) if rng.random() < 0.5 else 0
    drawn = rng.sample(usable, min(count, len(usable)))
    description = replace(describe(rng), examples=tuple(Example(i.input, i.output) for i in drawn))
    choices = (tuple(labels),) * len(instances) if labels else ()
    return SuiteTask(name, description, tuple(instances), tuple(usable), choices, metric, group)


def guessing(tasks: Sequence[SuiteTask]) -> float | None:
    """What guessing gives where all sets of answers are closed: the chance of the right choice, averaged over tasks."""
    if not tasks or not all(task.choices for task in tasks):
        return None
    shares = [sum(1 / len(choices) for choices in task.choices) / len(task.choices) for task in tasks]
    return sum(shares) / len(shares)


def one_of(phrases: Sequence[str]) -> Callable[[random.Random], TaskDescription]:
    """Words a task by one of the phrases."""
    return lambda rng: TaskDescription(rng.choice(phrases))


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
