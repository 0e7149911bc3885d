"""Rule: which of our own tasks, and which of their inputs, a split may draw; the same for closed sets and open tasks.

Tasks are split by hash as a whole, those of a group together. Those of training are split once more by their inputs,
and held-out ones are drawn with all of theirs.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from training.data.corpus import SPLITS, Split, split_of


class OwnTask(Protocol):
    """A task with inputs of its own."""

    @property
    def name(self) -> str: ...

    @property
    def group(self) -> str:
        """What tasks on the same inputs share, so that all of them belong to one split; empty for a task by itself."""
        ...

    def of_split(self, split: Split | None) -> list[Any]:
        """Its inputs of one split with what belongs to them; all of them for None."""
        ...


T = TypeVar("T", bound=OwnTask)


def tasks_of_split(family: str, tasks: Sequence[T], split: Split) -> list[T]:
    """The tasks of a family that belong to a split as a whole; four in five are of training."""
    return [task for task in tasks if split_of(f"{family}/{task.group or task.name}") == split]


def inputs_by_split(family: str, tasks: Sequence[T], split: Split) -> dict[Split, list[tuple[T, list[Any]]]]:
    """What each split may draw of the tasks that belong to `split`: tasks with their inputs, of which none is empty."""
    own = tasks_of_split(family, tasks, split)
    found = {each: [(task, task.of_split(each if split == "train" else None)) for task in own] for each in SPLITS}
    return {each: [pair for pair in pairs if pair[1]] for each, pairs in found.items()}
