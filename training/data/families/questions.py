"""Family: questions about a text with a closed set of answers, as the T0 training sample asks them.

The sample has whole prompts. What all prompts of a template share is the question, and the rest of each is its input.
Templates of data sets that a test suite or a reasoning test uses are left out. Licence: Apache-2.0.
"""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families.instructions import REASONING_SOURCES

LEFT_OUT = (*REASONING_SOURCES, "openbook", "qqp", "wic", "mnli", "superglue")
"""In the names of templates, without underscores."""

LONGEST_INPUT = 320
MOST_LABELS = 14
FEWEST_WORDS = 3
FEWEST_OF_LABEL = 8
"""Instances of each label, on average."""

LISTED_SHARE = 0.6
"""How often the labels are listed behind the question, which may name them itself."""

INTRODUCTIONS = ("Answer with one of:", "Options:", "Labels:", "Choose from:")


@dataclass(frozen=True, slots=True)
class Question:
    """One template of the sample.

    Attributes:
        name: Of the template.
        text: What all its prompts share.
        inputs: By split and label.
    """

    name: str
    text: str
    inputs: dict[Split, dict[str, list[str]]]


class Questions:
    """Draws a question, with all of its labels equally often."""

    name = "questions"

    def __init__(self, questions: Sequence[Question]) -> None:
        self.questions = questions

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode of a seen question, on inputs of the given split."""
        question = rng.choice(self.questions)
        labels = sorted(question.inputs[split])
        drawn = [rng.choice(labels) for _ in range(inputs + 4)]
        instances = [Instance(rng.choice(question.inputs[split][label]), label) for label in drawn]
        examples, taken = choose_examples(rng, instances, inputs, split)
        text = question.text
        if rng.random() < LISTED_SHARE:
            text += f" {rng.choice(INTRODUCTIONS)} {', '.join(rng.sample(labels, len(labels)))}"
        task = TaskDescription(text, tuple(Example(e.input, e.output) for e in examples))
        return Episode(f"{self.name}/{question.name}", task, tuple(instances[taken : taken + inputs]), tuple(labels))


def load_questions(data: Path) -> list[Question]:
    """Questions whose inputs are short, with the same labels in each split."""
    prompts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record in read_records(data / "tasks/t0_prompts.jsonl.zst"):
        name = record["template"]
        if not any(source in name.lower().replace("_", "") for source in LEFT_OUT):
            answer = record["completion"].replace("<|endoftext|>", "").strip()
            prompts[name].append((record["prompt"].strip(), answer))
    questions = (_question(name, rows) for name, rows in prompts.items())
    return [question for question in questions if question is not None]


def is_seen(question: Question) -> bool:
    """Whether training may draw the question: all questions of a data set are on one side."""
    return split_of(f"questions/{question.name.split('_')[0].lower()}") == "train"


def _question(name: str, prompts: Sequence[tuple[str, str]]) -> Question | None:
    """The question of a template; None where its prompts share too little, or answers are no closed set."""
    parted = [re.findall(r"\s+|\S+", prompt) for prompt, _ in prompts]  # words, and the white space between them
    start = _shared(parted)
    end = _shared([words[start:][::-1] for words in parted])
    text = " ".join("".join([*parted[0][:start], " ", *parted[0][len(parted[0]) - end :]]).split())
    inputs: dict[Split, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    labels, count = set(), 0
    for words, (_, answer) in zip(parted, prompts, strict=True):
        own = "".join(words[start : len(words) - end]).strip()
        if own and len(own) <= LONGEST_INPUT:
            inputs[split_of(own)][answer].append(own)
            labels.add(answer)
            count += 1
    closed = 1 < len(labels) <= MOST_LABELS and count >= FEWEST_OF_LABEL * len(labels)
    whole = len(inputs) == 3 and all(by.keys() == labels for by in inputs.values())
    if len(text.split()) < FEWEST_WORDS or not closed or not whole:
        return None
    return Question(name, text, {split: dict(by) for split, by in inputs.items()})


def _shared(rows: Sequence[Sequence[str]]) -> int:
    """How many words all rows begin with."""
    return sum(1 for _ in takewhile(lambda words: len(set(words)) == 1, zip(*rows, strict=False)))
