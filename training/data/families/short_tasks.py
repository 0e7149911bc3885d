"""Family: many small open tasks of our own: taking a value out of a text, rewriting it, naming what belongs to a word.

Functions such as those of `text_functions` give endless inputs to few tasks. Here the inputs of a task are few, and the
tasks are many. Tasks are split by hash, so that held-out ones measure what carries over; inputs are split likewise.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from training.data.corpus import SPLITS, Split, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.transform import describe_function
from training.data.templates import Templates, checked, load_templates


@checked
@dataclass(frozen=True, slots=True)
class ShortTask:
    """A task of `short_tasks.toml`.

    Attributes:
        descriptions: Ways to ask for it; each alone decides every answer.
        pairs: Inputs, each with its one right output.
    """

    name: str
    descriptions: Templates
    pairs: tuple[tuple[str, str], ...]

    def of_split(self, split: Split) -> list[Instance]:
        """Its instances of one split."""
        return [Instance(*pair) for pair in self.pairs if split_of(pair[0]) == split]


@checked
@dataclass(frozen=True, slots=True)
class ShortTemplates:
    """What `short_tasks.toml` holds; `formats` fit every answer."""

    formats: Templates
    tasks: tuple[ShortTask, ...]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), ShortTemplates)


def is_seen(task: ShortTask) -> bool:
    """Whether training may draw the task; four in five."""
    return split_of(f"short_tasks/{task.name}") == "train"


class ShortTasks:
    """Draws a task and inputs of it.

    Args:
        tasks: Those that may be drawn.
    """

    name = "short_tasks"

    def __init__(self, tasks: Sequence[ShortTask]) -> None:
        found = {split: [(task, task.of_split(split)) for task in tasks] for split in SPLITS}
        self._tasks = {split: [each for each in pairs if each[1]] for split, pairs in found.items()}

    @classmethod
    def seen(cls) -> Self:
        """Over the tasks that training may draw."""
        return cls([task for task in TEMPLATES.tasks if is_seen(task)])

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; inputs may come more than once."""
        task, known = rng.choice(self._tasks[split])
        instances = [rng.choice(known) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = describe_function(rng, rng.choice(task.descriptions), examples, TEMPLATES.formats)
        return Episode(f"{self.name}/{task.name}", asked, tuple(instances[taken : taken + inputs]))
