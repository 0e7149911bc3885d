"""Suite `reasoning`: the paper's eight sets, for any pair; each request names its own choices.

Five sets are the paper's seen ones, three its unseen ones; our mixture has none of them. Prompted and right read a
description of the set with five examples of its training file, as the paper's baselines do. A small pair is near chance
here, and the report says so. Test files are scored in `test` only; `validation` takes the end of the training files,
examples and the oracle's practice come from their beginning. HellaSwag has one file, cut the same way.
"""

import itertools
import random
from dataclasses import dataclass, replace
from pathlib import Path

from training.data.corpus import Split, read_records
from training.data.episodes import Instance
from training.data.templates import Templates, checked, load_templates
from training.evaluation.suites.tasks import SuiteSizes, SuiteTask, make_task, one_of

SHOTS = 5
MOST_READ = 3000


@checked
@dataclass(frozen=True, slots=True)
class ReasoningSet:
    """One set in `reasoning.toml`: names of its files, and ways to describe it."""

    train: str
    test: str
    descriptions: Templates


@checked
@dataclass(frozen=True, slots=True)
class ReasoningSets:
    """What `reasoning.toml` holds."""

    sets: dict[str, ReasoningSet]


SETS = load_templates(Path(__file__).with_suffix(".toml"), ReasoningSets).sets


def reasoning_tasks(rng: random.Random, data: Path, split: Split, sizes: SuiteSizes) -> list[SuiteTask]:
    """One task for each set; all choices of an instance are scored."""
    tasks = []
    for name, known_as in SETS.items():
        training, test = known_as.train, known_as.test
        known = _read(data / "reasoning" / f"{training}.jsonl.zst")
        half = len(known) // 2
        practice = [instance for instance, _ in known[:half]]
        pool = _read(data / "reasoning" / f"{test}.jsonl.zst") if split == "test" and test != training else known[half:]
        if test == training:  # one file: its two last quarters
            middle = half + (len(known) - half) // 2
            pool = known[half:middle] if split == "validation" else known[middle:]
        asked = dict(rng.sample(pool, min(len(pool), sizes.reasoning_inputs)))
        describe = one_of(known_as.descriptions)
        task = make_task(rng, f"reasoning/{name}", describe, tuple(asked), practice, shots=SHOTS)
        tasks.append(replace(task, choices=tuple(asked.values())))
    return tasks


def _read(path: Path) -> list[tuple[Instance, tuple[str, ...]]]:
    """Questions with their right answers, and all choices; a question that repeats another is left out."""
    found: dict[str, tuple[Instance, tuple[str, ...]]] = {}
    for record in itertools.islice(read_records(path), MOST_READ):
        choices = tuple(str(choice) for choice in record["choices"])
        if len(set(choices)) == len(choices):
            found.setdefault(record["q"], (Instance(record["q"], choices[record["label"]]), choices))
    return list(found.values())
