"""Oracles: one LoRA fine-tuned on each task's own training instances, at the rank and targets that the generator has.

An oracle sees what no description says, and is what a LoRA of this size can reach. Several are trained in one batch,
each on its own rows; they share nothing but the frozen edge model. Finished ones stay on disk under the digest of
everything that decides them, so that a second evaluation reads them.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from cloud_service.generator.answer_batch import answer_loss
from cloud_service.generator.edge import edge_shape
from loragen.contract.atomic import atomic_path
from training.data.episodes import Instance
from training.fit.edge_answers import EdgeAnswers
from training.fit.loop import Schedule

TaskFactors = dict[tuple[int, str], tuple[Tensor, Tensor]]


class PractisedTask(Protocol):
    """A task with instances to train on."""

    @property
    def name(self) -> str: ...

    @property
    def practice(self) -> Sequence[Instance]: ...


@dataclass(frozen=True, slots=True)
class OracleSettings:
    """How an oracle is trained.

    Attributes:
        steps, rows: Steps, and instances of a task in one step.
        together: Tasks trained in one batch.
    """

    rank: int
    alpha: float
    steps: int = 160
    rows: int = 8
    learning_rate: float = 3e-3
    warmup: int = 10
    together: int = 2
    seed: int = 0


def fit_oracles(
    edge: EdgeAnswers, edge_digest: str, tasks: Sequence[PractisedTask], settings: OracleSettings, directory: Path
) -> list[TaskFactors]:
    """Factors of each task, A (1, rank, in) and B (1, out, rank) with the scale in B; trained unless on disk."""
    paths = [directory / f"{_key(edge_digest, task, settings)}.safetensors" for task in tasks]
    missing = [(task, path) for task, path in zip(tasks, paths, strict=True) if not path.exists()]
    missing.sort(key=lambda pair: _characters(pair[0]))  # tasks of like length together: little is padded
    directory.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(missing), settings.together):
        group = missing[start : start + settings.together]
        factors = _train(edge, [task for task, _ in group], settings)
        for index, (_, path) in enumerate(group):
            tensors = {
                f"{layer}.{projection}.{side}": value[index].contiguous()
                for (layer, projection), pair in factors.items()
                for side, value in zip("AB", pair, strict=True)
            }
            with atomic_path(path) as temporary:
                save_file(tensors, temporary)
    return [_load(path, edge.model.device) for path in paths]


def _train(edge: EdgeAnswers, tasks: Sequence[PractisedTask], settings: OracleSettings) -> TaskFactors:
    torch.manual_seed(settings.seed)
    device, shape, count = edge.model.device, edge_shape(edge.model.config), len(tasks)
    a: dict[tuple[int, str], Tensor] = {}
    b: dict[tuple[int, str], Tensor] = {}
    for key in shape.blocks():
        size_in, size_out = shape.in_out(key[1])
        # Every task starts from the same factors: company in the batch must not change an oracle.
        first = torch.randn(settings.rank, size_in) / size_in**0.5
        a[key] = first.to(device).expand(count, -1, -1).clone().requires_grad_()
        b[key] = torch.zeros(count, size_out, settings.rank, device=device).requires_grad_()
    optimizer = torch.optim.AdamW([*a.values(), *b.values()], settings.learning_rate, weight_decay=0.0)
    schedule = Schedule(settings.steps, settings.warmup)
    scale = settings.alpha / settings.rank
    draws = [random.Random(f"oracle/{settings.seed}/{task.name}") for task in tasks]
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule.factor(step)
        rows: list[Instance] = []
        for rng, task in zip(draws, tasks, strict=True):
            rows += rng.choices(task.practice, k=settings.rows)
        batch = edge.chat.batch(rows, [None] * len(rows)).to(device)
        factors = {key: (a[key], scale * b[key]) for key in a}
        # Summed over tasks, so that each oracle's gradient is that of its own mean.
        loss = count * answer_loss(edge.logits(batch, factors), batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {key: (a[key].detach(), scale * b[key].detach()) for key in a}


def _key(edge_digest: str, task: PractisedTask, settings: OracleSettings) -> str:
    decided = {
        "edge": edge_digest,
        "settings": {name: value for name, value in asdict(settings).items() if name != "together"},
        "task": task.name,
        "practice": [(instance.input, instance.output) for instance in task.practice],
    }
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def _characters(task: PractisedTask) -> int:
    return sum(len(instance.input) for instance in task.practice) // len(task.practice)


def _load(path: Path, device: torch.device) -> TaskFactors:
    factors: TaskFactors = {}
    stored = load_file(path)
    for name in stored:
        layer, projection, side = name.split(".")
        if side == "A":
            pair = (stored[name], stored[f"{layer}.{projection}.B"])
            factors[int(layer), projection] = (pair[0][None].to(device), pair[1][None].to(device))
    return factors
