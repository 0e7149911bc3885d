"""Calibration: descriptions of each kind, the regression, the report, and what becomes of the checkpoint."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zstandard

from cloud_service.generator import load_generator
from cloud_service.generator.checkpoint import read_manifest
from cloud_service.task import Example, TaskDescription, Tool
from tests.training.conftest import TrainedPair
from training.data.descriptions import UNREAL, load_descriptions, prompt_in_disorder, rewritten
from training.data.families.tools import is_held_out
from training.fit import calibrate
from training.fit.calibrate import area_under_roc, fit, make_report


@pytest.fixture(scope="module")
def described(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up data with prose of many different paragraphs."""
    folder = Path(shutil.copytree(data, tmp_path_factory.mktemp("described") / "data"))
    for name in ("gutenberg", "openstax_ccby"):
        lines = [f"On evening {number} of {name} nobody spoke. The ships were gone. " * 4 for number in range(80)]
        text = "\n\n".join(lines) + "\n\n"
        (folder / f"text/{name}.txt.zst").write_bytes(zstandard.compress(text.encode()))
    return folder


def test_parts_share_no_held_out_task_no_held_out_tool_and_no_prose(described: Path) -> None:
    parts = load_descriptions(described)
    validation, test = parts["validation"], parts["test"]
    assert validation.paragraphs
    assert test.paragraphs
    assert not set(validation.paragraphs) & set(test.paragraphs)
    assert "tasks-paraphrased" in test.families
    assert "tasks-paraphrased" not in validation.families
    for suite, find in (
        ("tasks-unseen", lambda family: {task.name for task in family.tasks}),
        ("tools-unseen", lambda family: {known.tool.name for known in family.tools}),
    ):
        found = [find(part.families[suite]) for part in (validation, test) if suite in part.families]
        assert found
        assert sum(map(len, found)) == len(set().union(*found))
    for part in (validation, test):
        if "tools-unseen" in part.families:
            assert all(is_held_out(known, frozenset({"BookTrip"})) for known in part.families["tools-unseen"].tools)  # type: ignore[attr-defined]


def test_prompts_follow_from_the_random_state_alone(described: Path) -> None:
    part = load_descriptions(described)["test"]
    for kind in UNREAL:
        drawn = [[part.draw_unreal(random.Random(seed), kind) for seed in range(6)] for _ in range(2)]
        assert drawn[0] == drawn[1]
        assert len(set(drawn[0])) > 1
        assert all(drawn[0])
    with pytest.raises(ValueError, match="kind is 'sense'"):
        part.draw_unreal(random.Random(0), "sense")


def test_disorder_keeps_words_and_layout() -> None:
    prompt = "Sort each mail.\n\nTools:\n- find: Finds it.\n- send: Sends it."
    shuffled = prompt_in_disorder(random.Random(1), prompt)
    assert shuffled != prompt
    assert Counter(shuffled.split()) == Counter(prompt.split())
    assert shuffled.count("\n") == prompt.count("\n")


def test_rewriting_keeps_the_layout_and_no_text() -> None:
    task = TaskDescription("Sort.", (Example("in", "out"),), (Tool("find", "", ("place",)),), "")
    again = rewritten(task, lambda text: f"new {len(text)}")
    assert again == TaskDescription("new 5", (Example("new 2", "new 3"),), (Tool("new_4", "", ("new_5",)),), "")


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
    calibrate.main([*options, "--dry-run"])
    assert read_manifest(pair / "generator").digest == before.info.digest
    calibrate.main(options)
    report = json.loads(out.read_text())
    assert set(report["descriptions"]) >= {"trained", "tasks-paraphrased", *UNREAL}
    assert 0 <= report["area_under_roc"] <= 1
    after = load_generator(pair / "generator", pair / "cloud", pair / "edge")
    assert report["generator_digest"] == after.info.digest != before.info.digest
    one, other = before.generate(["Sort the mail."])[0], after.generate(["Sort the mail."])[0]
    assert one.gates.tobytes() == other.gates.tobytes()
    assert (one.confidence, other.confidence is None) == (None, False)
