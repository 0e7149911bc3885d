"""Which tasks and inputs a split may draw."""

from dataclasses import dataclass

from training.data.corpus import SPLITS, Split, split_of
from training.data.families.own_tasks import inputs_by_split, tasks_of_split


@dataclass(frozen=True)
class Numbers:
    name: str
    last: int = 40
    group: str = ""

    def of_split(self, split: Split | None) -> list[str]:
        texts = [str(number) for number in range(self.last)]
        return [text for text in texts if split is None or split_of(text) == split]


TASKS = [Numbers(f"task {n}") for n in range(100)]


def test_each_task_belongs_to_one_split() -> None:
    tasks = {split: tasks_of_split("family", TASKS, split) for split in SPLITS}
    assert sum(map(len, tasks.values())) == len({task for found in tasks.values() for task in found}) == len(TASKS)
    assert len(tasks["train"]) > 60
    assert tasks["train"] != tasks_of_split("other family", TASKS, "train")


def test_tasks_of_a_group_belong_to_one_split() -> None:
    grouped = [Numbers(f"task {n}", group=f"group {n // 4}") for n in range(400)]
    found = [{task.group for task in tasks_of_split("family", grouped, split)} for split in SPLITS]
    assert all(found)
    assert sum(map(len, found)) == 100


def test_inputs_of_training_tasks_are_split_and_held_out_tasks_are_whole() -> None:
    seen, held_out = (inputs_by_split("family", TASKS, split) for split in ("train", "test"))
    for split in SPLITS:
        assert {split_of(text) for _, texts in seen[split] for text in texts} == {split}
        assert all(len(texts) == 40 for _, texts in held_out[split])


def test_task_without_inputs_is_not_drawn() -> None:
    assert inputs_by_split("family", [Numbers(task.name, 0) for task in TASKS], "train")["train"] == []
