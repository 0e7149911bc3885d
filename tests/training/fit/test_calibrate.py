"""Calibration: the regression on gains, and what becomes of the checkpoint."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from cloud_service.generator.checkpoint import add_calibration, read_manifest
from cloud_service.generator.confidence_model import Calibration
from cloud_service.generator.errors import CheckpointError
from cloud_service.task import TaskDescription
from loragen.client import ModelPair
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.data.descriptions import UNREAL
from training.fit import observed_gains
from training.fit.calibrate import CalibrationRun, calibrate_pair, fit, fit_evidence
from training.fit.observed_gains import ObservedGains


def _observed(seed: int, telling: float, count: int = 400) -> ObservedGains:
    """Ten features, of which one never changes and one tells the chance of a gain; two inputs of each task."""
    draw = np.random.default_rng(seed)
    features = draw.standard_normal((count, 10)).astype(np.float32)
    features[:, 4] = 7
    chance = 1 / (1 + np.exp(-telling * features[:, 5]))
    return ObservedGains(features, draw.binomial(2, chance) / 2, inputs=2)


def test_fit_predicts_fractional_gains() -> None:
    """Not only the order is right: the confidence is the chance itself."""
    regression, unseen = fit(_observed(1, 2.0)), _observed(2, 2.0)
    chance = 1 / (1 + np.exp(-2.0 * unseen.features[:, 5]))
    scores = np.array([regression.judge(row).score for row in unseen.features])
    assert np.abs(scores - chance).mean() < 0.06


def test_fit_without_anything_that_tells_gives_the_mean_gain() -> None:
    observed = _observed(1, 0.0)
    observed = replace(observed, gains=np.where(np.arange(400) % 4 == 0, 1.0, 0.0))
    scores = [fit(observed).judge(row).score for row in _observed(2, 0.0).features]
    assert np.mean(scores) == pytest.approx(0.25, abs=0.03)
    assert np.std(scores) < 0.1


def test_unreal_texts_count_as_no_gain_and_shift_no_deviation() -> None:
    observed = _observed(1, 0.0)
    observed = replace(observed, gains=np.full(400, 0.9))
    unreal = observed.features[:80] + np.array([0, 0, 0, 0, 0, 4, 0, 0, 0, 0], np.float32)
    plain, warned = fit(observed), fit(observed, unreal)
    assert np.mean([warned.judge(row).score for row in unreal]) < 0.3 < plain.judge(unreal[0]).score
    assert np.array_equal(plain.center, warned.center)
    assert plain.farthest == warned.farthest


@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_gains_all_alike_give_a_finite_fit(gain: float) -> None:
    observed = replace(_observed(1, 0.0), gains=np.full(400, gain))
    regression = fit(observed)
    assert np.isfinite(regression.bias)
    assert abs(regression.judge(observed.features[0]).score - gain) < 0.02


@pytest.mark.parametrize("evidence", [0.5, 4.0])
def test_evidence_is_how_little_tasks_with_like_features_differ(evidence: float) -> None:
    draw = np.random.default_rng(3)
    means = draw.uniform(0.1, 0.9, 4000)
    shares = draw.beta(evidence * means, evidence * (1 - means))
    observed = ObservedGains(np.zeros((4000, 1), np.float32), draw.binomial(4, shares) / 4, inputs=4)
    assert fit_evidence(means, observed) == pytest.approx(evidence, rel=0.15)


def test_nearly_all_tasks_of_the_fit_are_familiar_and_far_ones_are_not() -> None:
    observed = _observed(1, 1.0)
    regression = fit(observed)
    assert 0.98 <= np.mean([regression.judge(row).is_familiar for row in observed.features]) < 1
    assert not regression.judge(observed.features[0] + 9).is_familiar


@pytest.fixture
def pair(tiny_pair: TrainedPair, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_pair.out, tmp_path / "pair"))


def test_command_calibrates_the_checkpoint_and_changes_no_gate(
    described: Path, pair: Path, tiny_pair: TrainedPair, tmp_path: Path
) -> None:
    before = load_generator(pair / "generator", pair / "cloud", pair / "edge")
    out, table = tmp_path / "out" / "report.json", tmp_path / "docs" / "confidence.md"
    options: list[object] = ["--data", described, "--pair", pair, "--out", out, "--config", tiny_pair.config]
    options += ["--runs", tmp_path / "runs", "--descriptions", 6, "--sets", 5]
    add_calibration(pair / "generator", Calibration(fit(_observed(1, 0.0))))
    with pytest.raises(CheckpointError, match="expected finite"):  # of another generator: it cannot be read
        load_generator(pair / "generator", pair / "cloud", pair / "edge")
    unreadable = read_manifest(pair / "generator").digest
    run_command("calibrate", *options, "--dry-run")
    assert read_manifest(pair / "generator").digest == unreadable
    assert not table.exists()
    run_command("calibrate", *options, "--report", table)
    report = json.loads(out.read_text())
    assert report["fitted_on"] == {"open": 6, "closed": 5}
    assert {kind: scores["tasks"] for kind, scores in report["tasks"].items()} == {"open": 2, "closed": 2}
    assert report["unreal"].keys() == set(UNREAL)
    after = load_generator(pair / "generator", pair / "cloud", pair / "edge")
    assert report["generator_digest"] == after.info.digest != before.info.digest
    assert after.info.digest in table.read_text()
    for asked in (Asked("Turn it around."), Asked.of(TaskDescription("Is it Rome? Answer yes or no."))):
        (one,), (other,) = before.generate([asked]), after.generate([asked])
        assert one.gates.tobytes() == other.gates.tobytes()
        assert (one.confidence, other.confidence is None) == (None, False)


def test_second_call_observes_nothing_again(
    described: Path, pair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even after the first one changed the generator's digest."""
    run = CalibrationRun(ModelPair.at(pair), described, descriptions=5, sets=5, runs=tmp_path / "runs")
    first = calibrate_pair(run)
    monkeypatch.setattr(observed_gains, "observe_gain", None)
    assert calibrate_pair(run) == first
