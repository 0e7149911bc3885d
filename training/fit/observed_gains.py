"""Observes what a generator gains on tasks: the share of inputs that the edge model answers right under the LoRA alone.

The probe of the service answers, so a client's own probe would show the same. An input counts when the whole answer is
right with the LoRA and its residual prompt, and wrong without both. The part and a number alone decide what is drawn.
Observations stay on disk, and a second call adds those that are missing.
"""

import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloud_service.generation import Asked, EdgeProbe, LoadedGenerator
from cloud_service.generator import TorchGenerator
from cloud_service.generator.checkpoint import BANK_FILE, ROUTER_FILE, Manifest
from cloud_service.task import Example
from loragen.contract.assembly import assemble
from loragen.contract.atomic import write_atomic
from loragen.contract.digest import canonical_json, sha256_hex
from training.data.descriptions import Descriptions, Kind

INPUTS: Mapping[Kind, int] = {"open": 2, "closed": 4}
"""Inputs of a task that are answered. More tasks tell more than more inputs of each."""

MOST_DRAWS = 500
"""Draws for one task of a kind; after so many without one, the data hold none."""

LOGGED_EVERY = 10
"""Tasks between two lines on the progress."""


@dataclass(frozen=True, slots=True)
class DrawnTask:
    """A task as the generator reads it, with inputs and the answers expected."""

    asked: Asked
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class ObservedGains:
    """Tasks of one kind, with what was observed on them.

    Attributes:
        features: (tasks, features) float32.
        gains: (tasks,), the share of each task's inputs that it gains.
        inputs: How many inputs of each task were answered.
    """

    features: NDArray[np.float32]
    gains: NDArray[np.float64]
    inputs: int


class GainRecords:
    """The gains that were observed, in one file for each generator.

    Args:
        folder: Made when something is stored.
        manifest: Of the generator. A calibration changes no gain, so it does not count.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        files = (manifest.files[BANK_FILE], manifest.files[ROUTER_FILE])
        origin = (repr(manifest.config), manifest.cloud_model.digest, manifest.edge_model.digest, *files)
        self._path = folder / f"gains-{sha256_hex(canonical_json(origin))[:16]}.json"
        self._gains: dict[str, float] = json.loads(self._path.read_text()) if self._path.exists() else {}

    def find(self, task: DrawnTask) -> float | None:
        """What was observed on a task; None when nothing was."""
        return self._gains.get(_key(task))

    def store(self, task: DrawnTask, gain: float) -> None:
        """Writes what was observed on a task."""
        self._gains[_key(task)] = gain
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self._path, json.dumps(self._gains, indent=0).encode())


def draw_tasks(generator: LoadedGenerator, source: Descriptions, kind: Kind, count: int) -> list[DrawnTask]:
    """Draws tasks that the generator answers by gates (`open`) or by its choice head (`closed`).

    Raises:
        ValueError: The data hold no such task.
    """
    tasks = []
    for number in range(count):
        rng = random.Random(f"calibrate/{source.part}/{kind}/{number}")
        drawn = (_draw(source, rng, kind) for _ in range(MOST_DRAWS))
        found = next((task for task in drawn if _is_of_kind(generator, task, kind)), None)
        if found is None:
            raise ValueError(f"{MOST_DRAWS} draws from the {source.part} part gave no {kind} task that can be answered")
        tasks.append(found)
    return tasks


def observe_gain(generator: LoadedGenerator, probe: EdgeProbe, task: DrawnTask) -> float:
    """The share of a task's inputs that the edge model answers right with the LoRA, and not without it."""
    (generation,) = generator.generate([task.asked])
    lora = assemble(generator.bank, generation.gates, generation.keys)
    gained = 0
    for example in task.examples:
        (right,) = probe.score([example], lora, generation.answer, generation.residual_prompt).right
        # Where the answer is wrong nothing was gained, and the edge model alone need not be asked.
        gained += right and not probe.score([example], None).right[0]
    return gained / len(task.examples)


def observe(generator: TorchGenerator, tasks: Sequence[DrawnTask], records: GainRecords) -> None:
    """Observes what is not in the records yet, and prints now and then how long the rest will take."""
    missing = [task for task in tasks if records.find(task) is None]
    if not missing:
        return
    probe, started = generator.load_probe(), time.monotonic()
    for number, task in enumerate(missing, 1):
        records.store(task, observe_gain(generator, probe, task))
        if number % LOGGED_EVERY == 0:
            left = (time.monotonic() - started) / number * (len(missing) - number) / 60
            print(f"observed {number} of {len(missing)} tasks; about {left:.0f} minutes left", flush=True)


def gains_of(generator: TorchGenerator, tasks: Sequence[DrawnTask], kind: Kind, records: GainRecords) -> ObservedGains:
    """Features of observed tasks, with their gains.

    Raises:
        ValueError: A task was not observed.
    """
    gains = [records.find(task) for task in tasks]
    if None in gains:
        raise ValueError(f"{gains.count(None)} of {len(tasks)} {kind} tasks were not observed")
    if kind == "open":
        features = generator.measure([task.asked.prompt for task in tasks])
    else:
        features = generator.measure_sets([task.asked.choices for task in tasks])
    return ObservedGains(features, np.array(gains, np.float64), INPUTS[kind])


def _draw(source: Descriptions, rng: random.Random, kind: Kind) -> DrawnTask:
    episode = source.draw(rng, kind, INPUTS[kind])
    examples = tuple(Example(instance.input, instance.output) for instance in episode.instances)
    return DrawnTask(Asked.of(episode.task), examples)


def _is_of_kind(generator: LoadedGenerator, task: DrawnTask, kind: Kind) -> bool:
    info, choices = generator.info, [choice.text for choice in task.asked.choices]
    if kind == "closed":
        return 0 < len(choices) <= info.most_choices and all(each.output in choices for each in task.examples)
    is_closed = bool(choices) and info.most_choices > 0
    return not is_closed and generator.count_tokens(task.asked.prompt) <= info.max_prompt_tokens


def _key(task: DrawnTask) -> str:
    return sha256_hex(canonical_json(asdict(task)))
