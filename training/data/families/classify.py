"""Family: classify short texts, under labels renamed at random, so that the label words come from the description.

The same texts serve several tasks (topic, sentiment, domain), and codes such as A and B mean what only the description
says. Sources: AG News, SST-2, Yelp and Amazon reviews as packed by the O-LoRA benchmark (MIT), instruction-induction
(Apache-2.0), CLINC150 (CC BY 3.0).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import renaming
from training.data.families.tools import CLINC_SPLITS
from training.data.templates import Templates, checked, fill, listed, listed_or, load_templates, maybe, placeholders

LONGEST_TEXT = 320
RELABELLED_SHARE, RESPELLED_SHARE = 0.3, 0.2


@checked
@dataclass(frozen=True, slots=True)
class TextKind:
    """A kind of texts in `classify.toml`.

    Attributes:
        nouns: What one text may be called.
        aspects: Names of what the classes stand for, such as tone or topic.
        names: Ways to name the classes, each in the order of the class numbers; the first is that of the data.
    """

    nouns: Templates
    aspects: Templates
    names: tuple[Templates, ...]


@checked
@dataclass(frozen=True, slots=True)
class ClassifyTemplates:
    """What `classify.toml` holds."""

    asks: Annotated[Templates, placeholders("noun", "aspect", "labels", "labels_or")]
    formats: Templates
    legends: Annotated[Templates, placeholders("label", "meaning")]
    kinds: dict[str, TextKind]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), ClassifyTemplates)


@dataclass(frozen=True, slots=True)
class LabelledTexts:
    """A data set of texts with a closed set of classes.

    Attributes:
        name: For tables.
        kind: What text, aspect and classes may be called.
        texts: (text, class number) by split.
    """

    name: str
    kind: TextKind
    texts: dict[Split, list[tuple[str, int]]]


class Classification:
    """Draws a data set, a naming of its classes and a description."""

    name = "classify"

    def __init__(self, data_sets: Sequence[LabelledTexts]) -> None:
        self.data_sets = data_sets

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode; three in ten ask for labels whose meaning the description defines, some spell them otherwise."""
        data = rng.choice(self.data_sets)
        called = rng.choice(data.kind.names)
        classes = list(range(len(called)))
        if len(classes) > 4:
            classes = sorted(rng.sample(classes, rng.randint(3, min(8, len(classes)))))
        drawn: list[tuple[str, int]] = []
        while len(drawn) < inputs + 4:
            text, number = rng.choice(data.texts[split])
            if number in classes:
                drawn.append((text, number))
        answers, legend = {number: called[number] for number in classes}, ""
        if (style := rng.random()) < RELABELLED_SHARE:
            new = renaming.relabel(rng, len(classes))
            phrase = rng.choice(TEMPLATES.legends)
            meanings = zip(new, classes, strict=True)
            legend = " " + " ".join(phrase.format(label=label, meaning=called[n]) for label, n in meanings)
            answers = dict(zip(classes, new, strict=True))
        elif style < RELABELLED_SHARE + RESPELLED_SHARE:
            answers = dict(zip(classes, renaming.respell(rng, list(answers.values())), strict=True))
        labels = [answers[number] for number in classes]
        shown = rng.sample(labels, len(labels))
        instances = [Instance(text, answers[number]) for text, number in drawn]
        examples, taken = choose_examples(rng, instances, inputs, split)
        text = fill(
            rng,
            TEMPLATES.asks,
            noun=rng.choice(data.kind.nouns),
            aspect=rng.choice(data.kind.aspects),
            labels=listed(shown),
            labels_or=listed_or(shown),
        )
        task = TaskDescription(
            description=text + legend if rng.random() < 0.8 or set(labels) - {e.output for e in examples} else "",
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=maybe(rng, 0.5, TEMPLATES.formats),
        )
        return Episode(f"classify/{data.name}", task, tuple(instances[taken : taken + inputs]), tuple(labels))


_POLARITY = {"very negative": 0, "negative": 0, "positive": 1, "very positive": 1, "Bad": 0, "Good": 1}


def load_data_sets(data: Path) -> list[LabelledTexts]:
    """The labelled texts that training and evaluation know."""
    topics, sentiments, requests = (TEMPLATES.kinds[kind] for kind in ("topics", "sentiments", "domains"))
    by_name: dict[str, list[tuple[str, int]]] = {"agnews": [], "sst2": [], "reviews": [], "phrases": []}
    for record in read_records(data / "tasks/described_tasks.jsonl.zst"):
        task = record["task"]
        if task not in ("classify_agnews", "classify_SST-2", "classify_yelp", "classify_amazon", "induction_sentiment"):
            continue
        for instance in record["instances"]:
            text, label = " ".join(instance["input"].split()), instance["outputs"][0]
            text = text.removeprefix("Text: ").removeprefix("Title: ")
            if task == "classify_agnews":
                by_name["agnews"].append((text.replace(" Text: ", ". ")[:LONGEST_TEXT], topics.names[0].index(label)))
            elif task == "induction_sentiment":
                by_name["phrases"].append((text, int(label == "positive")))
            elif label in _POLARITY and len(text) <= LONGEST_TEXT:
                text = text.replace(" Text: ", ". ")
                by_name["sst2" if task == "classify_SST-2" else "reviews"].append((text, _POLARITY[label]))
    domains: dict[Split, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for record in read_records(data / "tools/utterances.jsonl.zst"):
        if record["source"] == "clinc150":  # in the published split, which routing follows, too: a text has one split
            text = " ".join(record["utterance"].split())
            domains[CLINC_SPLITS[record["split"]]].append((text, requests.names[0].index(record["domain"])))
    return [
        LabelledTexts("agnews", topics, _by_split(by_name["agnews"])),
        LabelledTexts("sst2", sentiments, _by_split(by_name["sst2"])),
        LabelledTexts("reviews", sentiments, _by_split(by_name["reviews"])),
        LabelledTexts("phrases", sentiments, _by_split(by_name["phrases"])),
        LabelledTexts("domains", requests, domains),
    ]


def _by_split(texts: list[tuple[str, int]]) -> dict[Split, list[tuple[str, int]]]:
    by: dict[Split, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for text, number in sorted(set(texts)):
        by[split_of(text)].append((text, number))
    return by
