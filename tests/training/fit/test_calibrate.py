"""Calibration: the regression, the report, and what becomes of the checkpoint."""

import json
import shutil
from pathlib import Path

import numpy as np

from cloud_service.generation import Asked
from cloud_service.generator import load_generator
from cloud_service.generator.checkpoint import read_manifest
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.data.descriptions import UNREAL
from training.fit.calibrate import area_under_roc, fit, make_report


def test_area_under_roc_counts_pairs_in_order_and_half_the_ties() -> None:
    assert area_under_roc(np.array([3.0, 2.0]), np.array([1.0, 0.0])) == 1
    assert area_under_roc(np.array([0.0]), np.array([1.0, 2.0])) == 0
    assert area_under_roc(np.array([1.0, 3.0]), np.array([1.0, 2.0])) == (0.5 + 0 + 1 + 1) / 4


def _features(shift: float, seed: int, count: int = 150) -> np.ndarray:
    """Ten features, of which one never changes and one tells."""
    features = np.random.default_rng(seed).standard_normal((count, 10)).astype(np.float32)
    features[:, 4] = 7
    features[:, 5] += shift
    return features


def test_fit_tells_apart_what_can_be_told_apart_and_nothing_else() -> None:
    fitted = fit({"trained": _features(0, 1), "gibberish": _features(4, 2), "prose": _features(4, 3)})
    unreal = {kind: _features(4, seed) for seed, kind in enumerate(UNREAL, 6)}
    report = make_report(fitted, {"trained": _features(0, 4), "tools-unseen": _features(0.3, 5), **unreal})
    assert float(report["area_under_roc"]) > 0.98  # type: ignore[arg-type]
    shares = report["share_over_half"]
    assert isinstance(shares, dict)
    assert shares["trained"] > 0.9 > 0.1 > shares["prose"]

    blind = fit({"trained": _features(0, 1), "gibberish": _features(0, 2)})
    unreal = {kind: _features(0, seed) for seed, kind in enumerate(UNREAL, 6)}
    blind_report = make_report(blind, {"trained": _features(0, 4), **unreal})
    assert 0.35 < float(blind_report["area_under_roc"]) < 0.65  # type: ignore[arg-type]


def test_command_calibrates_the_checkpoint_and_changes_no_gate(
    described: Path, tiny_pair: TrainedPair, tmp_path: Path
) -> None:
    pair = Path(shutil.copytree(tiny_pair.out, tmp_path / "pair"))
    before = load_generator(pair / "generator", pair / "cloud", pair / "edge")
    out = tmp_path / "report.json"
    options = ["--data", str(described), "--pair", str(pair), "--out", str(out), "--descriptions", "6"]
    run_command("calibrate", *options, "--dry-run")
    assert read_manifest(pair / "generator").digest == before.info.digest
    run_command("calibrate", *options)
    report = json.loads(out.read_text())
    assert set(report["descriptions"]) >= {"trained", "tasks-paraphrased", *UNREAL}
    assert 0 <= report["area_under_roc"] <= 1
    after = load_generator(pair / "generator", pair / "cloud", pair / "edge")
    assert report["generator_digest"] == after.info.digest != before.info.digest
    one, other = before.generate([Asked("Sort the mail.")])[0], after.generate([Asked("Sort the mail.")])[0]
    assert one.gates.tobytes() == other.gates.tobytes()
    assert (one.confidence, other.confidence is None) == (None, False)
