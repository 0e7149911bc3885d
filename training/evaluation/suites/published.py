"""Tasks of the suites from published collections: which held-out one is near to what training draws, and which is not.

Training draws the tasks that `is_seen` lets it draw. `published.toml` tells the others apart by what training has, so
that `tasks-unseen` holds no skill that training had under another name:

- `same_task`: the second packing of a task that training draws (NaturalInstructions v1 and Super-NaturalInstructions
  share them), or a set whose texts training classifies under its own words: the same task in words never met.
- `siblings`: another data set, or another field of a set, of a skill that training draws; the seen one is named.
- Every other held-out task is unseen.

Labelled sets that no family reads are siblings or unseen, too: see `labelled_tasks`. An input that two tasks share has
one split, since the split follows from its text.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.corpus import SPLITS, Split, read_records, split_of
from training.data.episodes import Instance
from training.data.families.instructions import DescribedTask
from training.data.templates import Templates, checked, load_templates
from training.evaluation.suites.tasks import (
    Metric,
    SuiteSizes,
    SuiteTask,
    draw_balanced,
    draw_distinct,
    make_task,
    one_of,
)

FEWEST_INPUTS = 8
MOST_LABELS = 8
LONGEST_EXACT_WORDS = 3  # longer answers can be said in many good ways: ROUGE-L
APP_REVIEWS = "app-reviews"  # the one labelled set from the T0 sample


@checked
@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A labelled set in `published.toml`.

    Attributes:
        tasks: Tasks of the packed data that hold its texts.
        sibling: Whether training has the skill.
        split: Tasks of this split are scored on it.
        longest: Characters of a text at most.
        labels: All its answers.
        descriptions: Ways to ask for it.
    """

    tasks: tuple[str, ...]
    sibling: bool
    split: Split
    longest: int
    labels: Templates
    descriptions: Templates


@checked
@dataclass(frozen=True, slots=True)
class PublishedSources:
    """What `published.toml` holds: held-out tasks with what training has in their place, and labelled sets."""

    same_task: dict[str, str]
    siblings: dict[str, str]
    labelled: dict[str, LabelledSource]


SOURCES = load_templates(Path(__file__).with_suffix(".toml"), PublishedSources)


def published_task(
    rng: random.Random, task: DescribedTask, split: Split, sizes: SuiteSizes, kind: str = "instructions"
) -> SuiteTask | None:
    """A published task under its published descriptions; None when the split holds too few inputs."""
    every = [instance for name in SPLITS for instance in task.instances[name]]
    answers = {instance.output for instance in every}
    labels = sorted(answers) if len(answers) <= min(MOST_LABELS, len(every) // 20) else []
    draw = draw_balanced if labels else draw_distinct
    instances = draw(rng, task.instances[split], sizes.inputs)
    if len(instances) < min(FEWEST_INPUTS, sizes.inputs):
        return None
    words = statistics.median(len(instance.output.split()) for instance in every)
    metric: Metric = "exact" if labels or words <= LONGEST_EXACT_WORDS else "rouge_l"
    practice = task.instances["train"]
    return make_task(rng, f"{kind}/{task.name}", one_of(task.descriptions), instances, practice, labels, metric)


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A labelled data set that training never draws, with its instances by split of the text."""

    name: str
    source: LabelledSource
    instances: dict[Split, list[Instance]]


def load_labelled_sets(data: Path) -> list[LabelledSet]:
    """The labelled sets that no training family reads, or reads in part; those that the data folder holds."""
    set_of = {task: name for name, source in SOURCES.labelled.items() for task in source.tasks}
    texts: dict[str, list[Instance]] = {name: [] for name in SOURCES.labelled}
    for record in read_records(data / "tasks/described_tasks.jsonl.zst"):
        name = set_of.get(record["task"])
        if name is None:
            continue
        source = SOURCES.labelled[name]
        for instance in record["instances"]:
            text, label = " ".join(instance["input"].split()), instance["outputs"][0]
            text = text.removeprefix("Text: ").removeprefix("Title: ").replace(" Text: ", ". ")
            if len(text) <= source.longest and label in source.labels:
                texts[name].append(Instance(text, label))
    texts[APP_REVIEWS] = list(_app_reviews(data, SOURCES.labelled[APP_REVIEWS].longest))
    sets = []
    for name, source in SOURCES.labelled.items():
        by: dict[Split, list[Instance]] = {s: [] for s in SPLITS}
        for found in sorted(set(texts[name]), key=lambda i: (i.input, i.output)):
            by[split_of(found.input)].append(found)
        if len(by[source.split]) >= FEWEST_INPUTS:
            sets.append(LabelledSet(name, source, by))
    return sets


def labelled_tasks(
    rng: random.Random, sets: Sequence[LabelledSet], sibling: bool, split: Split, sizes: SuiteSizes
) -> list[SuiteTask]:
    """A task for each labelled set of a kind that is scored in a split."""
    tasks = []
    for labelled in sets:
        if labelled.source.sibling == sibling and labelled.source.split == split:
            instances = draw_balanced(rng, labelled.instances[split], sizes.inputs)
            practice = labelled.instances["train"]
            tasks.append(
                make_task(
                    rng,
                    f"classify/{labelled.name}",
                    one_of(labelled.source.descriptions),
                    instances,
                    practice,
                    labelled.source.labels,
                )
            )
    return tasks


def _app_reviews(data: Path, longest: int) -> list[Instance]:
    """Reviews out of one template of the T0 sample; three stars are neither bad nor good."""
    path = data / "tasks/t0_prompts.jsonl.zst"
    if not path.exists():
        return []
    found = []
    for record in read_records(path):
        if record["template"] == "app_reviews_convert_to_rating" and record["prompt"].count('"') >= 2:
            text = " ".join(record["prompt"].split('"', 1)[1].rsplit('"', 1)[0].split())
            stars = record["completion"].removesuffix("<|endoftext|>").strip()
            if 0 < len(text) <= longest and stars in {"1", "2", "4", "5"}:
                found.append(Instance(text, "good" if stars > "3" else "bad"))
    return found
