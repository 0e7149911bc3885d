"""Oracles: one LoRA fine-tuned on each task's own training instances, at the rank and targets that the generator has.

An oracle sees what no description says, and is what a LoRA of this size can reach. Training ends when held-out
instances get no better; the best factors stay. Finished oracles stay on disk under the digest of all that decides them,
so that a second evaluation reads them.
"""

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cloud_service.generator.answer_batch import answer_loss
from cloud_service.generator.edge import edge_shape
from loragen.contract.atomic import atomic_path
from training.data.episodes import Instance
from training.fit.edge_answers import EdgeAnswers

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
        steps: At most; it ends sooner when the learning rate has fallen to a tenth, which it does, by factors of 0.3,
            each time that two looks at the held-out instances found no less loss.
        rows: Instances in one step.
        look: Steps between two looks.
        held_out: Instances that are held out, and at most a quarter of them all.
    """

    rank: int
    alpha: float
    steps: int = 400
    rows: int = 8
    learning_rate: float = 3e-3
    look: int = 10
    held_out: int = 24
    seed: int = 0


def fit_oracles(
    edge: EdgeAnswers, edge_digest: str, tasks: Sequence[PractisedTask], settings: OracleSettings, directory: Path
) -> list[TaskFactors]:
    """Factors of each task, A (1, rank, in) and B (1, out, rank) with the scale in B; trained unless on disk."""
    directory.mkdir(parents=True, exist_ok=True)
    return [
        _fit(edge, task, settings, directory / f"{_key(edge_digest, task, settings)}.safetensors") for task in tasks
    ]


def _fit(edge: EdgeAnswers, task: PractisedTask, settings: OracleSettings, path: Path) -> TaskFactors:
    if not path.exists():
        tensors = {
            f"{layer}.{projection}.{side}": value[0].contiguous()
            for (layer, projection), pair in _train(edge, task, settings).items()
            for side, value in zip("AB", pair, strict=True)
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary)
    return _load(path, edge.model.device)


def _train(edge: EdgeAnswers, task: PractisedTask, settings: OracleSettings) -> TaskFactors:
    torch.manual_seed(settings.seed)
    device, shape = edge.model.device, edge_shape(edge.model.config)
    scale = settings.alpha / settings.rank
    a: dict[tuple[int, str], Tensor] = {}
    b: dict[tuple[int, str], Tensor] = {}
    for key in shape.blocks():
        size_in, size_out = shape.in_out(key[1])
        a[key] = (torch.randn(1, settings.rank, size_in, device=device) / size_in**0.5).requires_grad_()
        b[key] = torch.zeros(1, size_out, settings.rank, device=device).requires_grad_()
    optimizer = torch.optim.AdamW([*a.values(), *b.values()], settings.learning_rate, weight_decay=0.0)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.3, patience=1, threshold=0.0)

    def loss(instances: Sequence[Instance]) -> Tensor:
        batch = edge.chat.batch(instances, [None] * len(instances)).to(device)
        return answer_loss(edge.logits(batch, {key: (a[key], scale * b[key]) for key in a}), batch)

    rng = random.Random(f"oracle/{settings.seed}/{task.name}")
    instances = rng.sample(task.practice, len(task.practice))
    aside = min(settings.held_out, len(instances) // 4)
    held_out, practice = instances[:aside] or instances, instances[aside:]
    best, best_loss = {}, math.inf
    for step in range(1, settings.steps + 1):
        loss(rng.choices(practice, k=settings.rows)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % settings.look and step < settings.steps:
            continue
        with torch.no_grad():
            found = loss(held_out).item()
        if found < best_loss:
            best = {key: (a[key].detach().clone(), scale * b[key].detach()) for key in a}
            best_loss = found
        scheduler.step(found)
        if scheduler.get_last_lr()[0] < 0.1 * settings.learning_rate:
            break
    print(f"oracle {task.name}: {step} steps, held-out loss {best_loss:.3f}", flush=True)
    return best


def _key(edge_digest: str, task: PractisedTask, settings: OracleSettings) -> str:
    decided = {
        "edge": edge_digest,
        "settings": asdict(settings),
        "task": task.name,
        "practice": [(instance.input, instance.output) for instance in task.practice],
    }
    return hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()


def _load(path: Path, device: torch.device) -> TaskFactors:
    factors: TaskFactors = {}
    stored = load_file(path)
    for name in stored:
        layer, projection, side = name.split(".")
        if side == "A":
            pair = (stored[name], stored[f"{layer}.{projection}.B"])
            factors[int(layer), projection] = (pair[0][None].to(device), pair[1][None].to(device))
    return factors
