"""Own tasks with longer answers: many, well formed, held out as a whole in part, and no short task has their names."""

import random
import statistics

from training.data.corpus import SPLITS
from training.data.families import short_tasks
from training.data.families.own_tasks import tasks_of_split
from training.data.families.sentence_tasks import TEMPLATES, SentenceTasks


def test_tasks_are_many_and_held_out_in_part() -> None:
    names = [task.name for task in TEMPLATES.tasks]
    assert len(set(names)) == len(names) > 150
    assert not set(names) & {task.name for task in short_tasks.TEMPLATES.tasks}
    assert 0.7 < len(tasks_of_split(SentenceTasks.name, TEMPLATES.tasks, "train")) / len(names) < 0.9
    for task in TEMPLATES.tasks:
        inputs = [text for text, _ in task.pairs]
        assert len(set(inputs)) == len(inputs), task.name
        assert all(text.strip() and output.strip() for text, output in task.pairs), task.name
        assert len(set(task.descriptions)) == len(task.descriptions) >= 6, task.name


def test_answers_are_longer_than_those_of_short_tasks() -> None:
    words = [len(output.split()) for task in TEMPLATES.tasks for _, output in task.pairs]
    assert statistics.median(words) >= 6


def test_held_out_tasks_are_never_drawn_by_training() -> None:
    drawn = {split: {SentenceTasks(split).draw(random.Random(n), split, 2).name for n in range(60)} for split in SPLITS}
    assert all(name.startswith("sentence_tasks/") for names in drawn.values() for name in names)
    assert not drawn["train"] & (drawn["validation"] | drawn["test"])
