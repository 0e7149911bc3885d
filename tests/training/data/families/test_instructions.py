"""Published tasks."""

import random
from pathlib import Path

from tests.training.data.families.drawing import draw
from tests.training.packed import texts_of, write_records
from training.data.corpus import SPLITS
from training.data.episodes import Mixture
from training.data.families.instructions import (
    LONGEST_DESCRIPTION,
    PublishedInstructions,
    is_seen,
    load_described_tasks,
)


def test_held_out_and_reasoning_tasks_are_never_drawn(mixture: Mixture, data: Path) -> None:
    tasks = load_described_tasks(data)
    assert "task_piqa_goal" not in {task.name for task in tasks}
    held_out = {task.name for task in tasks if not is_seen(task)}
    assert len(held_out) == 2
    drawn = {e.name for split in SPLITS for e in draw(mixture, "instructions", split, 60)}
    assert drawn == {f"instructions/{task.name}" for task in tasks if task.name not in held_out}


def test_published_descriptions_are_shortened_at_a_sentence(tmp_path: Path) -> None:
    instances = [{"input": t, "outputs": ["x"]} for s in SPLITS for t in texts_of(s, 25, "say {}".format)]
    long = "First sentence of the task. " * 50
    record = {"task": "task_long", "descriptions": [long, "y" * 1900], "instances": instances}
    write_records(tmp_path / "tasks/described_tasks.jsonl.zst", [record])
    (task,) = load_described_tasks(tmp_path)
    assert 500 < len(task.descriptions[0]) <= LONGEST_DESCRIPTION
    assert task.descriptions[0].endswith("task.")
    assert task.descriptions[1] == "y" * LONGEST_DESCRIPTION
    assert PublishedInstructions([task]).draw(random.Random(0), "test", 3).task.description in task.descriptions
