"""Family: short tasks of Super-NaturalInstructions and instruction-induction, with their published descriptions.

Tasks (not only instances) are split by hash, so validation and test hold tasks that training never met. Tasks made from
the sources of the reasoning test sets are left out. Licence of both collections: Apache-2.0.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split, read_records, split_of
from training.data.episodes import Episode, Instance, choose_examples

LONGEST_DESCRIPTION = 1000
LONGEST_INPUT = 480
LONGEST_OUTPUT = 180
FEWEST_INSTANCES = 60
REASONING_SOURCES = ("piqa", "winogrande", "obqa", "boolq", "cosmosqa", "social", "arc", "hellaswag", "swag")

REASONING_TASKS = ("essential_terms", "answering_science_questions")
"""In the names of tasks whose inputs are questions of ARC, test questions among them."""


@dataclass(frozen=True, slots=True)
class DescribedTask:
    """A published task with its descriptions and instances by split."""

    name: str
    descriptions: tuple[str, ...]
    instances: dict[Split, list[Instance]]


class PublishedInstructions:
    """Draws a published task."""

    name = "instructions"

    def __init__(self, tasks: list[DescribedTask]) -> None:
        self.tasks = tasks

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode of a seen task, on instances of the given split."""
        task = rng.choice(self.tasks)
        instances = [rng.choice(task.instances[split]) for _ in range(inputs + 4)]
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = TaskDescription(
            description=rng.choice(task.descriptions), examples=tuple(Example(e.input, e.output) for e in examples)
        )
        return Episode(f"instructions/{task.name}", asked, tuple(instances[taken : taken + inputs]))


def load_described_tasks(data: Path) -> list[DescribedTask]:
    """Tasks that are short enough for a small pair and not made from a reasoning test set."""
    tasks = []
    for record in read_records(data / "tasks/described_tasks.jsonl.zst"):
        name = record["task"].lower()
        if name.startswith("classify_") or any(source in name for source in REASONING_SOURCES):
            continue
        by: dict[Split, list[Instance]] = {"train": [], "validation": [], "test": []}
        for instance in record["instances"]:
            text, answer = instance["input"].strip(), instance["outputs"][0].strip()
            if 0 < len(text) <= LONGEST_INPUT and 0 < len(answer) <= LONGEST_OUTPUT:
                by[split_of(text)].append(Instance(text, answer))
        if sum(map(len, by.values())) >= FEWEST_INSTANCES and all(len(by[s]) >= 4 for s in by):
            tasks.append(DescribedTask(record["task"], tuple(_shorten(d) for d in record["descriptions"]), by))
    return tasks


def is_seen(task: DescribedTask) -> bool:
    """Whether training may draw the task."""
    return split_of(f"task/{task.name}") == "train" and not any(name in task.name for name in REASONING_TASKS)


def _shorten(text: str) -> str:
    if len(text) <= LONGEST_DESCRIPTION:
        return text.strip()
    end = max(text.rfind(". ", 0, LONGEST_DESCRIPTION), text.rfind("\n", 0, LONGEST_DESCRIPTION))
    return text[: end + 1 if end > 100 else LONGEST_DESCRIPTION].strip()
