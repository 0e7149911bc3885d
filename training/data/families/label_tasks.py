"""Family: closed sets of labels for many small tasks of our own, half of which ask for a judgement.

Published sets are large and few: sentiment, topics, domains. A model that saw five of them knows five. Here each task
is small, and there are many. Tasks are split by hash, so that held-out ones measure what carries over; texts are split
likewise within each task. Descriptions do not name the labels: statements do, or the output format, or examples.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import renaming
from training.data.families.own_tasks import inputs_by_split, tasks_of_split
from training.data.templates import Templates, checked, fill, listed, listed_or, load_templates, placeholders

RELABELLED_SHARE, RESPELLED_SHARE = 0.1, 0.15
IN_FORMAT_SHARE = 0.25
"""How often the labels stand in the output format alone."""

MOST_LABELS = 8
ALWAYS_WHOLE = 4
"""Sets of so many labels or fewer are always asked for as a whole."""

PART_SHARE = 0.5


@checked
@dataclass(frozen=True, slots=True)
class LabelTask:
    """A task of `label_tasks.toml`.

    Attributes:
        descriptions: Ways to ask for it, without the labels.
        labels: Ways to name the labels, each in the order of `texts`.
        texts: For each label, texts that have it.
        group: See `OwnTask`.
    """

    name: str
    descriptions: Templates
    labels: tuple[Templates, ...]
    texts: tuple[Templates, ...]
    group: str = ""

    def __post_init__(self) -> None:
        if not self.labels or any(len(names) != len(self.texts) for names in self.labels):
            raise ValueError(f"the task {self.name} has {len(self.texts)} lists of texts and other numbers of labels")

    def of_split(self, split: Split | None) -> list[tuple[str, int]]:
        """Its texts of one split, each with the number of its label; all of them for None."""
        labelled = [(text, number) for number, texts in enumerate(self.texts) for text in texts]
        return [each for each in labelled if split is None or split_of(each[0]) == split]


@checked
@dataclass(frozen=True, slots=True)
class LabelTemplates:
    """What `label_tasks.toml` holds.

    Attributes:
        statements: Ways to name the labels behind a description.
        formats: The same as an output format.
        legends: Ways to define a label that says nothing by itself.
    """

    statements: Annotated[Templates, placeholders("labels", "labels_or")]
    formats: Annotated[Templates, placeholders("labels", "labels_or")]
    legends: Annotated[Templates, placeholders("label", "meaning")]
    tasks: tuple[LabelTask, ...]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), LabelTemplates)


def seen_texts() -> list[tuple[LabelTask, str, int]]:
    """Training texts of the tasks that training may draw, each with its task and the number of its label."""
    seen = tasks_of_split(LabelTasks.name, TEMPLATES.tasks, "train")
    return [(task, *each) for task in seen for each in task.of_split("train")]


class LabelTasks:
    """Draws a task, one of its namings, and texts.

    Args:
        split: That of the tasks. Of those of training, each split has its own texts; of held-out ones, all are drawn.
        tasks: Those that there are.
    """

    name = "label_tasks"

    def __init__(self, split: Split = "train", tasks: Sequence[LabelTask] = TEMPLATES.tasks) -> None:
        self._tasks = inputs_by_split(self.name, tasks, split)

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; some have labels whose meaning the description defines, some spell them otherwise."""
        task, numbers, texts = self._choose(rng, split)
        drawn = [rng.choice(texts) for _ in range(inputs + 4)]
        names, description = rng.choice(task.labels), rng.choice(task.descriptions)
        labels, legend = self._spell(rng, [names[n] for n in numbers])
        answers = dict(zip(numbers, labels, strict=True))
        instances = [Instance(text, answers[number]) for text, number in drawn]
        examples, taken = choose_examples(rng, instances, inputs, split)
        shown = rng.sample(labels, len(labels))
        stated = {"labels": listed(shown), "labels_or": listed_or(shown)}
        in_format = not legend and rng.random() < IN_FORMAT_SHARE
        if not in_format:
            description += f" {fill(rng, TEMPLATES.statements, **stated)}{legend}"
        asked = TaskDescription(
            description,
            tuple(Example(e.input, e.output) for e in examples),
            output_format=fill(rng, TEMPLATES.formats, **stated) if in_format else "",
        )
        return Episode(f"{self.name}/{task.name}", asked, tuple(instances[taken : taken + inputs]), tuple(labels))

    def _choose(self, rng: random.Random, split: Split) -> tuple[LabelTask, list[int], list[tuple[str, int]]]:
        """A task, the numbers of the labels that are asked for, and texts of them."""
        while True:
            task, labelled = rng.choice(self._tasks[split])
            numbers = list(range(len(task.texts)))
            if len(numbers) > MOST_LABELS or (len(numbers) > ALWAYS_WHOLE and rng.random() < PART_SHARE):
                numbers = sorted(rng.sample(numbers, rng.randint(3, min(MOST_LABELS, len(numbers)))))
            if texts := [each for each in labelled if each[1] in numbers]:
                return task, numbers, texts

    def _spell(self, rng: random.Random, names: list[str]) -> tuple[list[str], str]:
        """The labels as they are answered, and what defines those that say nothing by themselves."""
        style = rng.random()
        if style < RELABELLED_SHARE:
            new, phrase = renaming.relabel(rng, len(names)), rng.choice(TEMPLATES.legends)
            pairs = zip(new, names, strict=True)
            return new, "".join(f" {phrase.format(label=label, meaning=meaning)}" for label, meaning in pairs)
        if style < RELABELLED_SHARE + RESPELLED_SHARE:
            return renaming.respell(rng, names), ""
        return list(names), ""
