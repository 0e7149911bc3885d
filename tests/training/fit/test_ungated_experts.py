"""Experts that no router gates are trained in place, and a second call goes on where the first one was."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cloud_service.generator.experts import ExpertBank
from loragen.contract.lora import EdgeShape
from tests.cloud_service.generator.tiny import generator_config
from training.fit.processes import Processes
from training.fit.ungated_experts import train_ungated_experts


@dataclass(frozen=True)
class Settings:
    """Of the optimizer."""

    steps: int = 30
    warmup: int = 2
    learning_rate: float = 0.05
    weight_decay: float = 0.0
    seed: int = 1


def _experts() -> ExpertBank:
    torch.manual_seed(0)
    return ExpertBank(generator_config(experts=2), EdgeShape(layers=1, hidden=8, intermediate=12))


def _towards(experts: ExpertBank, target: float) -> Tensor:
    """How far the output matrices are from a number."""
    return torch.stack([(b - target).square().mean() for b in experts.b.values()]).sum()


def _train(experts: ExpertBank, directory: Path, seen: list[int], origin: str = "") -> list[float]:
    def step(number: int) -> tuple[Tensor, int]:
        seen.append(number)
        return _towards(experts, 0.5), 1

    return train_ungated_experts(experts, step, Settings(), directory, Processes(), origin)


def test_experts_learn_what_the_step_asks_and_are_not_trained_twice(tmp_path: Path) -> None:
    experts, seen = _experts(), list[int]()
    losses = _train(experts, tmp_path / "calls", seen)
    assert seen == list(range(30))
    assert len(losses) == 30
    assert losses[-1] < 0.05 * losses[0]
    again, more = _experts(), list[int]()
    assert _train(again, tmp_path / "calls", more) == more == []
    for name, parameter in again.named_parameters():
        torch.testing.assert_close(parameter, dict(experts.named_parameters())[name])


def test_checkpoint_on_other_models_is_refused(tmp_path: Path) -> None:
    _train(_experts(), tmp_path / "calls", [], origin="one")
    with pytest.raises(ValueError, match="from other weights"):
        _train(_experts(), tmp_path / "calls", [], origin="other")
