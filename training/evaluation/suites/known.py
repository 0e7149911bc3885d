"""Tasks of the suites from the families that training draws: its own words, or words it never met."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import TaskDescription
from training.data.corpus import Split
from training.data.episodes import Instance
from training.data.families import classify, extract
from training.data.families.classify import LabelledTexts
from training.data.families.transform import TRANSFORMATIONS, Transformation
from training.data.templates import Templates, checked, fill, listed, listed_or, load_templates, maybe, placeholders
from training.evaluation.suites.tasks import (
    MOST_PRACTICE,
    SuiteSizes,
    SuiteTask,
    draw_balanced,
    draw_distinct,
    make_task,
    one_of,
)

CODES = ("A", "B", "C", "D", "E", "F", "G", "H")
FEWEST_WORDS, MOST_WORDS = 2, 9  # as in training.data.families.transform
NAMINGS = 2


@checked
@dataclass(frozen=True, slots=True)
class Paraphrases:
    """What `paraphrases.toml` holds: words that training never meets; `transform` by transformation."""

    classify: Annotated[Templates, placeholders("noun", "aspect", "labels", "labels_or")]
    extract: Annotated[Templates, placeholders("slot")]
    transform: dict[str, Templates]


PARAPHRASES = load_templates(Path(__file__).with_name("paraphrases.toml"), Paraphrases)


def classification_tasks(
    rng: random.Random, data_sets: Sequence[LabelledTexts], split: Split, sizes: SuiteSizes, paraphrased: bool
) -> list[SuiteTask]:
    """Two namings of each data set's classes; at most six classes of a set with more."""
    tasks = []
    for data in data_sets:
        for names in rng.sample(data.kind.names, min(NAMINGS, len(data.kind.names))):
            classes = sorted(rng.sample(range(len(names)), min(len(names), rng.randint(4, 6))))
            answers = {number: names[number] for number in classes}
            tasks.append(classification_task(rng, data, answers, split, sizes, paraphrased))
    return tasks


def classification_task(
    rng: random.Random,
    data: LabelledTexts,
    answers: dict[int, str],
    split: Split,
    sizes: SuiteSizes,
    paraphrased: bool = False,
    legend: str = "",
    texts: Sequence[tuple[str, int]] | None = None,
    group: str = "",
) -> SuiteTask:
    """Classification under the given answers, of given texts or of texts drawn anew."""
    labels = list(answers.values())
    if texts is None:
        pool = [Instance(text, answers[number]) for text, number in data.texts[split] if number in answers]
        instances = draw_balanced(rng, pool, sizes.inputs)
    else:
        instances = [Instance(text, answers[number]) for text, number in texts]
    practice = [Instance(text, answers[number]) for text, number in data.texts["train"] if number in answers]
    phrases = PARAPHRASES.classify if paraphrased else classify.TEMPLATES.asks

    def describe(rng: random.Random) -> TaskDescription:
        shown = rng.sample(labels, len(labels))
        text = fill(
            rng,
            phrases,
            noun=rng.choice(data.kind.nouns),
            aspect=rng.choice(data.kind.aspects),
            labels=listed(shown),
            labels_or=listed_or(shown),
        )
        return TaskDescription(text + legend, output_format=maybe(rng, 0.5, classify.TEMPLATES.formats))

    name = f"classify/{data.name}/{'-'.join(labels[:2])}".replace(" ", "_")
    return make_task(rng, name, describe, instances, practice, labels, group=group)


def extraction_task(
    rng: random.Random,
    kind: str,
    instances: Sequence[Instance],
    practice: Sequence[Instance],
    paraphrased: bool = False,
    group: str = "",
) -> SuiteTask:
    """Extraction of one kind of field from given messages."""
    phrases = PARAPHRASES.extract if paraphrased else extract.TEMPLATES.asks

    def describe(rng: random.Random) -> TaskDescription:
        text = fill(rng, phrases, slot=rng.choice(extract.TEMPLATES.kinds[kind].names))
        return TaskDescription(text, output_format=maybe(rng, 0.5, extract.TEMPLATES.formats))

    return make_task(rng, f"extract/{kind}", describe, instances, practice, group=group)


def extraction_tasks(
    rng: random.Random,
    messages: dict[str, dict[Split, list[Instance]]],
    kinds: Sequence[str],
    split: Split,
    sizes: SuiteSizes,
    paraphrased: bool,
) -> list[SuiteTask]:
    """One task for each kind of field."""
    return [
        extraction_task(
            rng, kind, draw_distinct(rng, messages[kind][split], sizes.inputs), messages[kind]["train"], paraphrased
        )
        for kind in kinds
    ]


def transformation_task(
    rng: random.Random,
    function: Transformation,
    texts: Sequence[str],
    practice: Sequence[str],
    paraphrased: bool = False,
    group: str = "",
) -> SuiteTask:
    """A function of given short texts.

    Its paraphrases are those of `paraphrases.toml` and the one way to ask that the family withholds from training.
    """
    phrases = (*PARAPHRASES.transform[function.name], function.withheld) if paraphrased else function.asks
    instances = [Instance(text, function.apply(text)) for text in texts]
    trained = [Instance(text, function.apply(text)) for text in practice]
    return make_task(rng, f"transform/{function.name}", one_of(phrases), instances, trained, group=group)


def transformation_tasks(
    rng: random.Random, texts: dict[Split, list[str]], split: Split, sizes: SuiteSizes, paraphrased: bool
) -> list[SuiteTask]:
    """One task for each function."""
    return [
        transformation_task(
            rng,
            function,
            short_texts(rng, texts[split], sizes.inputs),
            short_texts(rng, texts["train"], MOST_PRACTICE),
            paraphrased,
        )
        for function in TRANSFORMATIONS
    ]


def short_texts(rng: random.Random, texts: Sequence[str], count: int) -> list[str]:
    """Different pieces of two to nine words."""
    long_enough = [words for text in texts if len(words := text.split()) >= FEWEST_WORDS]
    pieces: dict[str, None] = {}
    for _ in range(20 * count):
        words = rng.choice(long_enough)
        length = rng.randint(FEWEST_WORDS, MOST_WORDS)
        start = rng.randint(0, max(0, len(words) - length))
        pieces[" ".join(words[start : start + length])] = None
        if len(pieces) == count:
            break
    return list(pieces)
