"""The command line: what each command is asked to do, and where results go."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer import BadParameter
from typer.testing import CliRunner

from loragen.client import ModelPair
from loragen.default_pair import DEFAULT_PAIR
from tests.training.commands import run_command
from training.__main__ import app
from training.evaluation import evaluate, report
from training.evaluation.evaluate import Evaluation
from training.evaluation.suites import SUITES
from training.fit import calibrate, train, trained_pair
from training.fit.calibrate import CalibrationRun
from training.fit.calibration_report import CalibrationReport
from training.fit.config import load_config


def pair_in(folder: Path, cloud: str | None = None, edge: str | None = None) -> ModelPair:
    return ModelPair(folder / "generator", cloud or "the pair's", edge or "the pair's", folder / "edge-f16.gguf")


@pytest.fixture
def found_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every folder holds a pair, and its models are there."""
    monkeypatch.setattr(trained_pair, "pair_at", pair_in)


def test_tiny_run_does_not_touch_the_place_of_the_real_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(train, "train_pair", lambda config, data, out, runs, start: calls.append((config, out, runs)))
    run_command("train", "qwen-llama3-8b", "--data", "x")
    run_command("train", "qwen-llama3-8b", "--data", "x", "--tiny")
    run_command("train", "qwen-llama3-8b", "--data", "x", "--tiny", "--out", "a", "--runs", "b")
    assert calls == [
        (load_config("qwen-llama3-8b"), Path("models/qwen-llama3-8b"), Path("runs/qwen-llama3-8b")),
        (load_config("qwen-llama3-8b", tiny=True), Path("build/qwen-llama3-8b-tiny"), Path("runs/qwen-llama3-8b-tiny")),
        (load_config("qwen-llama3-8b", tiny=True), Path("a"), Path("b")),
    ]


def test_data_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    places = ["--data", tmp_path, "--out", tmp_path / "o", "--runs", tmp_path / "r"]
    with pytest.raises(FileNotFoundError, match="--data must name the folder"):
        run_command("train", "qwen-llama3-8b", *places, "--tiny")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "giant", "--data", "d"], "there is no training config giant"),
        (["evaluate", "--data", "d", "--split", "train"], "train"),
        (["evaluate", "--data", "d", "--suites", "near"], "near: expected some of tasks-seen"),
        (["ablate", "--data", "d", "--only", "n=5"], "n=5: expected some of paper"),
    ],
)
def test_unknown_name_is_a_usage_error(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    assert message in result.output


def test_only_all_suites_of_the_shipped_pair_on_test_go_to_the_published_results(
    found_pairs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Evaluation] = []
    written: list[Path] = []

    def record(_: object, out: Path, results: Path) -> str:
        written.append(results)
        return ""

    monkeypatch.setattr(evaluate, "evaluate_pair", lambda evaluation: (asked.append(evaluation), None))
    monkeypatch.setattr(report, "write_report", record)
    larger = tmp_path / "larger.gguf"
    larger.touch()
    published = [], ["--minutes=0"], ["--oracles=2"], [f"--larger={larger}"]
    others = ["--pair=other"], ["--minutes=4"], ["--split=validation"], ["--suites", "conflict"]
    for options in (*published, *others):
        run_command("evaluate", "--data=d", *options)
    assert written == [Path("docs/results")] * len(published) + [Path("build/results")] * len(others)
    first = Evaluation(pair_in(DEFAULT_PAIR.folder), Path("d"))
    assert asked == [
        first,
        replace(first, minutes=0),
        replace(first, oracles=2),
        replace(first, larger=larger),
        replace(first, pair=pair_in(Path("other"))),
        replace(first, minutes=4),
        replace(first, split="validation"),
        replace(first, suites=["conflict"]),
    ]
    assert first.suites == SUITES


def test_calibrate_command_passes_its_options_on(
    found_pairs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[object] = []

    def record(run: CalibrationRun, *, store: bool) -> CalibrationReport:
        calls.append((run, store))
        return CalibrationReport("id", "digest", {}, {}, {})

    monkeypatch.setattr(calibrate, "calibrate_pair", record)
    out, table = tmp_path / "out" / "confidence.json", tmp_path / "tables" / "confidence.md"
    options: list[object] = ["--edge", "e", "--descriptions", 7, "--sets", 8, "--out", out, "--runs", "r"]
    run_command("calibrate", "--data", "d", *options)
    run_command("calibrate", "--data", "d", *options, "--config", "qwen-llama3-8b", "--dry-run", "--report", table)
    families = load_config("smollm2").fit.families
    assert families
    run = CalibrationRun(pair_in(DEFAULT_PAIR.folder, edge="e"), Path("d"), families, 7, 8, Path("r"))
    assert calls == [(run, True), (replace(run, families=load_config("qwen-llama3-8b").fit.families), False)]
    assert json.loads(out.read_text())["generator_digest"] == "digest"
    assert table.read_text().startswith("# Confidence")
    with pytest.raises(BadParameter, match="no training config"):
        run_command("calibrate", "--data", "d", "--config", "none")
