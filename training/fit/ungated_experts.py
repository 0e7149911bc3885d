"""Trains experts that no router gates: those for calls and those for labels, each by a step of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cloud_service.generator.experts import ExpertBank
from training.fit.loop import Run, Schedule, run_training
from training.fit.processes import Processes


class OptimizerSettings(Protocol):
    """What the settings of each kind have."""

    @property
    def steps(self) -> int: ...
    @property
    def warmup(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def seed(self) -> int: ...


def train_ungated_experts(
    experts: ExpertBank,
    step: Callable[[int], tuple[Tensor, int]],
    settings: OptimizerSettings,
    directory: Path,
    processes: Processes,
    origin: str = "",
) -> list[float]:
    """Trains experts in place; resumes from a checkpoint in `directory`, whose name stands on the progress bar.

    Args:
        experts: Fresh ones.
        settings: How.
        directory: Of the checkpoint.
        processes: Those that share the steps.
        step: From the step's number to this process's share of its loss, and the tokens it took.
        origin: Digests of the frozen models.

    Returns:
        The losses of the steps that this call ran.
    """
    parameters: dict[str, Tensor] = dict(experts.named_parameters())
    optimizer = torch.optim.AdamW(experts.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    run = Run(directory, directory.name, settings.seed, Schedule(settings.steps, settings.warmup), origin=origin)
    return run_training(run, parameters, [optimizer], step, processes=processes)
