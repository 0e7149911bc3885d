"""Values: an episode is one task, as one client would describe it, with inputs and the answers expected.

A family draws episodes. Drawing depends on the given random state alone, so any step of a training run can be drawn
again after a resume. What the families are belongs to `training.data.families`; batching to the training loops.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cloud_service.task import TaskDescription
from training.data.corpus import Split


@dataclass(frozen=True, slots=True)
class Instance:
    """One input of a task and the answer expected."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Episode:
    """One task description with instances that it decides.

    Attributes:
        name: Family and task, for tables.
        task: What the cloud LM reads.
        instances: Inputs with answers; in validation and test, none of them is among the examples of `task`.
        labels: All answers possible when the set is closed, else empty.
    """

    name: str
    task: TaskDescription
    instances: tuple[Instance, ...]
    labels: tuple[str, ...] = ()

    @property
    def longest_text(self) -> int:
        """Characters of the longest input with its answer, by which episodes are grouped."""
        return max(len(instance.input) + len(instance.output) for instance in self.instances)


class Family(Protocol):
    """A kind of task from which episodes are drawn."""

    @property
    def name(self) -> str: ...

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """A new description with `inputs` instances from the given split."""
        ...


@dataclass(frozen=True, slots=True)
class Mixture:
    """Families and how often each is drawn; itself a family."""

    name: str
    families: Sequence[Family]
    weights: Sequence[float]

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode of a family that is chosen by weight."""
        family = rng.choices(self.families, self.weights)[0]
        return family.draw(rng, split, inputs)


def choose_examples(
    rng: random.Random, instances: Sequence[Instance], inputs: int, split: Split
) -> tuple[tuple[Instance, ...], int]:
    """Splits drawn instances into few-shot examples and the rest.

    Instances are drawn with replacement; an example whose input is asked is left out, for its answer could be copied.

    Returns:
        The examples (one to four) and how many instances they took; none in every other draw of training, and in two
        of three others.
    """
    count = rng.randint(1, 4) if rng.random() < (1 / 2 if split == "train" else 1 / 3) else 0
    count = max(0, min(count, len(instances) - inputs))
    asked = {instance.input for instance in instances[count : count + inputs]}
    return tuple(example for example in instances[:count] if example.input not in asked), count
