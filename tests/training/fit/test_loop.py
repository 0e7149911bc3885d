"""The loop: a run that is stopped and resumed is the run that was not, to the last bit."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.fit.loop import Run, Schedule, run_training

STEPS = 6


class Training:
    """A small network in training with two optimizers, and with noise that a step draws from torch."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 4))
        self.optimizers = [
            torch.optim.Muon([p for p in self.model.parameters() if p.ndim == 2], lr=2e-3),
            torch.optim.AdamW([p for p in self.model.parameters() if p.ndim == 1], lr=2e-3),
        ]

    def loss(self, step: int) -> tuple[Tensor, int]:
        inputs = torch.randn(5, 8, generator=torch.Generator().manual_seed(step))
        return self.model(inputs).square().mean(), len(inputs)

    def run(self, directory: Path, stop_after: int | None = None) -> list[float]:
        run = Run(directory, "test", 3, Schedule(STEPS, warmup=2))
        return run_training(run, dict(self.model.named_parameters()), self.optimizers, self.loss, stop_after)


def test_resumed_run_has_exactly_the_losses_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Muon and AdamW, stopped twice, each time in a new process's stead; weights agree to the last bit."""
    whole = Training()
    losses = whole.run(tmp_path / "whole")
    assert len(losses) == STEPS
    assert len(set(losses)) == STEPS
    resumed: list[float] = []
    for stop_after in (2, 1, None):
        torch.manual_seed(99)  # whatever state a new process has
        part = Training()
        resumed += part.run(tmp_path / "parts", stop_after)
    assert resumed == losses
    for name, parameter in whole.model.named_parameters():
        assert torch.equal(parameter, part.model.get_parameter(name)), name


def test_finished_run_runs_nothing_and_loads_its_weights(tmp_path: Path) -> None:
    first, second = Training(), Training()
    first.run(tmp_path / "run")
    assert second.run(tmp_path / "run") == []
    for name, parameter in first.model.named_parameters():
        assert torch.equal(parameter, second.model.get_parameter(name))


def test_losses_are_logged_a_line_a_step(tmp_path: Path) -> None:
    """Beside the run's folder, whose name may have a dot."""
    losses = Training().run(tmp_path / "rate=0.1")
    lines = [json.loads(line) for line in (tmp_path / "rate=0.1.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(STEPS))
    assert [line["loss"] for line in lines] == losses


def test_schedule_warms_up_and_ends_at_its_floor() -> None:
    schedule = Schedule(steps=100, warmup=10, floor=0.1)
    factors = [schedule.factor(step) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 2)))
    assert factors[100] == pytest.approx(0.1)
    assert sorted(factors[10:], reverse=True) == factors[10:]
    assert Schedule(steps=1, warmup=0).factor(0) == 1


def test_learning_rates_follow_the_schedule_and_return_to_their_peaks(tmp_path: Path) -> None:
    """Two groups with their own peaks; a second call of the loop must not start from a decayed rate."""
    slow, fast = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([{"params": [slow], "lr": 0.1}, {"params": [fast], "lr": 1.0}])
    seen: list[tuple[float, float]] = []

    def loss(step: int) -> tuple[Tensor, int]:
        seen.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"]))
        return (slow * fast).sum(), 1

    schedule = Schedule(4, warmup=2)
    run_training(Run(tmp_path / "run", "test", 0, schedule), {"slow": slow, "fast": fast}, [optimizer], loss)
    assert seen == [(0.1 * schedule.factor(step), schedule.factor(step)) for step in range(4)]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]


def test_gradients_are_clipped(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    run = Run(tmp_path / "run", "test", 0, Schedule(1, warmup=0), clip_norm=0.5)
    run_training(run, {"weight": weight}, [optimizer], lambda step: ((weight * 1000).sum(), 1))
    assert weight.detach().norm().item() == pytest.approx(0.5, rel=1e-4)


def test_checkpoint_of_a_run_from_other_weights_is_refused(tmp_path: Path) -> None:
    """A later stage must not put its old weights in the place of what an earlier one has trained since."""

    def stage(name: str, start: float, steps: int, origin: str = "edge") -> float:
        weight = nn.Parameter(torch.full((2,), start))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        run = Run(tmp_path / name, name, 0, Schedule(steps, warmup=0), origin=origin)
        run_training(run, {"weight": weight}, [optimizer], lambda _: (weight.square().sum(), 1))
        return float(weight.detach()[0])

    first = stage("first", 1.0, 2)
    second = stage("second", first, 2)
    assert stage("second", first, 2) == second
    further = stage("first", 1.0, 4)
    assert further < first
    with pytest.raises(ValueError, match="second was trained on from other weights"):
        stage("second", further, 2)
    with pytest.raises(ValueError, match="Remove the folder"):
        stage("second", first, 2, origin="another edge")
