"""Family: many small open tasks of our own: taking a value out of a text, rewriting it, naming what belongs to a word.

Functions such as those of `text_functions` give endless inputs to few tasks. Here the inputs of a task are few, and the
tasks are many. Tasks are split by hash, so that held-out ones measure what carries over; inputs are split likewise.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.corpus import Split, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.own_tasks import inputs_by_split
from training.data.families.transform import describe_function
from training.data.templates import Templates, checked, load_templates


@checked
@dataclass(frozen=True, slots=True)
class ShortTask:
    """A task of `short_tasks.toml`.

    Attributes:
        descriptions: Ways to ask for it; each alone decides every answer.
        pairs: Inputs, each with its one right output.
        group: See `OwnTask`.
    """

    name: str
    descriptions: Templates
    pairs: tuple[tuple[str, str], ...]
    group: str = ""

    def of_split(self, split: Split | None) -> list[Instance]:
        """Its instances of one split; all of them for None."""
        return [Instance(*pair) for pair in self.pairs if split is None or split_of(pair[0]) == split]


@checked
@dataclass(frozen=True, slots=True)
class ShortTemplates:
    """What `short_tasks.toml` holds; `formats` fit every answer."""

    formats: Templates
    tasks: tuple[ShortTask, ...]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), ShortTemplates)


class ShortTasks:
    """Draws a task and inputs of it.

    Args:
        split: That of the tasks. Of those of training, each split has its own inputs; of held-out ones, all are drawn.
        tasks: Those that there are.
    """

    name = "short_tasks"

    def __init__(self, split: Split = "train", tasks: Sequence[ShortTask] = TEMPLATES.tasks) -> None:
        self._tasks = inputs_by_split(self.name, tasks, split)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; inputs may come more than once."""
        task, known = rng.choice(self._tasks[split])
        instances = [rng.choice(known) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = describe_function(rng, rng.choice(task.descriptions), examples, TEMPLATES.formats, split)
        return Episode(f"{self.name}/{task.name}", asked, tuple(instances[taken : taken + inputs]))
