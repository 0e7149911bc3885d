"""A run learns, resumes where it was, and averages its weights."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.memory.small import SETTINGS, small_run
from training.memory.fit import rate_groups


def test_steps_on_a_repeated_batch_lower_the_loss(tmp_path: Path) -> None:
    run = small_run(tmp_path, settings=replace(SETTINGS, steps=1000))
    drawn = run.draw(0)
    run.draw = lambda step: drawn  # type: ignore[method-assign]
    losses = [run.run_step()["loss"] for _ in range(8)]
    assert losses[-1] < losses[0]  # type: ignore[operator]


def test_a_resumed_run_has_the_losses_of_one_that_went_through(tmp_path: Path) -> None:
    through = small_run(tmp_path / "through")
    expected = [through.run_step()["loss"] for _ in range(4)]
    first = small_run(tmp_path / "resumed")
    losses = [first.run_step()["loss"] for _ in range(2)]
    first.store()
    second = small_run(tmp_path / "resumed")
    assert second.step == 2
    losses += [second.run_step()["loss"] for _ in range(2)]
    assert losses == expected
    torch.testing.assert_close(second.average, through.average, rtol=0, atol=0)


def test_a_run_resumes_only_under_the_settings_it_began_with(tmp_path: Path) -> None:
    first = small_run(tmp_path)
    first.run_step()
    first.store()
    with pytest.raises(ValueError, match="a setting or a model has changed"):
        small_run(tmp_path, settings=replace(SETTINGS, seed=SETTINGS.seed + 1))
    assert small_run(tmp_path, settings=replace(SETTINGS, steps=SETTINGS.steps + 1)).step == 1


def test_a_run_can_start_from_the_weights_of_another(tmp_path: Path) -> None:
    first = small_run(tmp_path / "first")
    first.run_step()
    first.store()
    second = small_run(tmp_path / "second", settings=replace(SETTINGS, start=str(tmp_path / "first/checkpoint")))
    assert second.step == 0
    torch.testing.assert_close(second.generator.state_dict(), first.generator.state_dict())


def test_the_first_weights_are_averaged_alike(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    name = "latents"
    met = [run.generator.latents.detach().clone()]
    for _ in range(3):
        run.run_step()
        met.append(run.generator.latents.detach().clone())
    torch.testing.assert_close(run.average[name], torch.stack(met).mean(0))
    torch.testing.assert_close(run.averaged().latents.detach(), run.average[name])


def test_every_parameter_has_one_rate(tmp_path: Path) -> None:
    run = small_run(tmp_path)
    grouped = [parameter for _, parameters in rate_groups(run.generator, run.settings) for parameter in parameters]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(run.generator.parameters()))
