"""Own label tasks: each episode names its labels, answers with them, and belongs to one side of the split."""

import random
from dataclasses import replace

import pytest

from cloud_service.answer.contract import find_answer
from training.data.corpus import SPLITS, split_of
from training.data.families.label_tasks import MOST_LABELS, TEMPLATES, LabelTask, LabelTasks
from training.data.families.own_tasks import tasks_of_split

ANIMALS = LabelTask(
    "bird_or_fish",
    ("What is it?",),
    (("bird", "fish"), ("flies", "swims")),
    (tuple(f"{bird} {n}" for n in range(30) for bird in ("gull", "wren")), tuple(f"carp {n}" for n in range(60))),
)


def test_answers_follow_from_the_texts_under_every_naming() -> None:
    family, namings = LabelTasks(tasks=[ANIMALS]), set()
    for number in range(60):
        for split in SPLITS:
            episode = family.draw(random.Random(number), split, 3)
            assert len(episode.instances) == 3
            assert len(set(episode.labels)) == 2
            bird, fish = episode.labels
            for instance in episode.instances:
                assert instance.output == (fish if "carp" in instance.input else bird)
            namings.add(bird.lower())
    assert {"bird", "flies"} < namings  # and some that only the description defines
    assert len(namings) > 4


def test_every_label_stands_in_the_description_or_the_output_format() -> None:
    for number in range(200):
        episode = LabelTasks().draw(random.Random(number), "train", 2)
        stated = f"{episode.task.description}\n{episode.task.output_format}"
        assert all(label in stated for label in episode.labels)
        assert 2 <= len(episode.labels) <= MOST_LABELS


def test_no_text_is_in_two_splits() -> None:
    texts = {split: {text for text, _ in ANIMALS.of_split(split)} for split in SPLITS}
    assert sum(map(len, texts.values())) == 120
    assert all(texts.values())
    assert not texts["train"] & (texts["validation"] | texts["test"])


def test_tasks_are_many_differ_and_are_held_out_in_part() -> None:
    names = [task.name for task in TEMPLATES.tasks]
    assert len(set(names)) == len(names) > 100
    seen = len(tasks_of_split(LabelTasks.name, TEMPLATES.tasks, "train"))
    assert 0.7 < seen / len(names) < 0.9
    for task in TEMPLATES.tasks:
        texts = [text for of_label in task.texts for text in of_label]
        assert len(set(texts)) == len(texts), task.name
        assert all(len(set(names)) == len(names) for names in task.labels), task.name


def test_task_whose_namings_do_not_fit_its_texts_is_refused() -> None:
    with pytest.raises(ValueError, match="bird_or_fish has 2 lists of texts"):
        replace(ANIMALS, labels=(("bird", "fish", "cat"),))


def test_service_reads_the_stated_labels_as_a_closed_set() -> None:
    """What training states is what a device is later constrained to, nearly always."""
    family, found = LabelTasks(), 0
    for number in range(200):
        episode = family.draw(random.Random(number), "train", 2)
        contract = find_answer(episode.task)
        found += contract.kind == "choice" and set(contract.choices) == set(episode.labels)
    assert found >= 190


def test_held_out_tasks_are_drawn_whole_and_never_by_training() -> None:
    drawn = {split: {LabelTasks(split).draw(random.Random(n), split, 2).name for n in range(150)} for split in SPLITS}
    assert all(len(names) > 10 for names in drawn.values())
    assert not drawn["train"] & (drawn["validation"] | drawn["test"])
    assert not drawn["validation"] & drawn["test"]
    texts = {i.input for n in range(600) for i in LabelTasks("test").draw(random.Random(n), "test", 4).instances}
    assert {split_of(text) for text in texts} == set(SPLITS)


def test_held_out_tasks_hardly_share_texts_with_those_of_training() -> None:
    train, *held_out = (
        tasks_of_split(LabelTasks.name, TEMPLATES.tasks, split) for split in ("train", "test", "validation")
    )
    seen = {text for task in train for text, _ in task.of_split(None)}
    for tasks in held_out:
        texts = [text for task in tasks for text, _ in task.of_split(None)]
        assert sum(text in seen for text in texts) < len(texts) / 100
