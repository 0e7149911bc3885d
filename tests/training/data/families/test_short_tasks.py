"""Own short tasks: answers are those of the file, inputs of one split stay there."""

import random

from training.data.corpus import SPLITS, split_of
from training.data.families.own_tasks import tasks_of_split
from training.data.families.short_tasks import TEMPLATES, ShortTask, ShortTasks

DOUBLE = ShortTask("double", ("Twice the number",), tuple((str(n), str(2 * n)) for n in range(100)))


def test_episode_has_pairs_of_one_task_from_its_split() -> None:
    family = ShortTasks(tasks=[DOUBLE])
    drawn: dict[str, set[str]] = {split: set() for split in SPLITS}
    for number in range(60):
        for split in SPLITS:
            episode = family.draw(random.Random(number), split, 3)
            assert len(episode.instances) == 3
            for instance in episode.instances:
                assert int(instance.output) == 2 * int(instance.input)
                drawn[split].add(instance.input)
            if split != "train":
                shown = {example.input for example in episode.task.examples}
                assert not shown & {instance.input for instance in episode.instances}
    assert not drawn["train"] & (drawn["validation"] | drawn["test"])
    assert len(drawn["train"]) > 60


def test_tasks_are_many_differ_and_are_held_out_in_part() -> None:
    names = [task.name for task in TEMPLATES.tasks]
    assert len(set(names)) == len(names) > 200
    assert 0.7 < len(tasks_of_split(ShortTasks.name, TEMPLATES.tasks, "train")) / len(names) < 0.9
    for task in TEMPLATES.tasks:
        inputs = [text for text, _ in task.pairs]
        assert len(set(inputs)) == len(inputs), task.name
        assert all(output.strip() for _, output in task.pairs), task.name
        assert len(set(task.descriptions)) == len(task.descriptions) >= 6, task.name


def test_held_out_tasks_are_drawn_whole_and_never_by_training() -> None:
    drawn = {split: {ShortTasks(split).draw(random.Random(n), split, 2).name for n in range(150)} for split in SPLITS}
    assert all(len(names) > 20 for names in drawn.values())
    assert not drawn["train"] & (drawn["validation"] | drawn["test"])
    inputs = {i.input for n in range(300) for i in ShortTasks("test").draw(random.Random(n), "test", 4).instances}
    assert {split_of(text) for text in inputs} == set(SPLITS)
