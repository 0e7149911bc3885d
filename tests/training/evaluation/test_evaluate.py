"""Evaluation of the toy pair: every suite with its controls, and what the command writes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from loragen.client import StackError
from tests.training.conftest import TrainedPair
from training import cli
from training.evaluation import evaluate
from training.evaluation.evaluate import EvaluationSizes, evaluate_pair
from training.evaluation.measure import COLUMNS
from training.evaluation.report import Report
from training.evaluation.served import PairPaths
from training.evaluation.suites import SuiteSizes
from training.fit import calibrate

SIZES = EvaluationSizes(
    SuiteSizes(tasks=2, samples=2, inputs=2, reasoning_inputs=2),
    oracles=1,
    oracle_steps=2,
    conflict_oracles=2,
    served=0,
)
DRAWN_HERE = ("tasks-seen", "conflict", "tools-seen", "tools-unseen", "tools-renamed")


@pytest.fixture(scope="module")
def report(tiny_pair: TrainedPair, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    runs = tmp_path_factory.mktemp("runs")
    report, failure = evaluate_pair(PairPaths.of(tiny_pair.out), data, "test", SIZES, runs, DRAWN_HERE)
    assert failure is None
    return report


@pytest.fixture(scope="module")
def commands() -> typer.Typer:
    """`loragen` with the commands plugged in."""
    app = typer.Typer()
    for command in (cli.evaluate, cli.calibrate):
        app.command()(command)
    return app


def test_evaluation_scores_every_column_of_every_suite(report: Report) -> None:
    assert tuple(suite.name for suite in report.suites) == DRAWN_HERE
    for suite in report.suites:
        oracles = [task for task in suite.tasks if "oracle" in task.score]
        assert len(oracles) == (2 if suite.name == "conflict" else 1)
        for task in suite.tasks:
            assert set(task.score) | {"oracle"} == set(COLUMNS)
            for values in task.score.values():
                assert 0 <= values.min() <= values.max() <= 1
            assert task.tokens["specialized"] < task.tokens["prompted"]
    assert next(suite.chance for suite in report.suites if suite.name == "conflict") is not None


def test_command_writes_json_table_and_plot(
    tiny_pair: TrainedPair, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "QUICK", SIZES)
    paths = [f"--{name}={tmp_path / name}" for name in ("out", "results", "runs")]
    evaluate.main([f"--data={data}", f"--pair={tiny_pair.out}", "--quick", "--suites", "tools-seen", *paths])
    document = json.loads((tmp_path / "out").read_text())
    assert list(document["suites"]) == ["tools-seen"]
    assert set(document["suites"]["tools-seen"]["score"]) == set(COLUMNS)
    assert (tmp_path / "results/evaluation.md").read_text().startswith("# Evaluation")
    assert (tmp_path / "results/evaluation.png").stat().st_size > 1000
    assert len(list((tmp_path / "runs/oracles").iterdir())) == 1


def test_what_was_measured_is_written_when_the_product_fails(
    tiny_pair: TrainedPair, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StackError("no chat template")

    monkeypatch.setattr(evaluate, "QUICK", replace(SIZES, served=1))
    monkeypatch.setattr(evaluate, "serve_sample", fail)
    paths = [f"--{name}={tmp_path / name}" for name in ("out", "results", "runs")]
    with pytest.raises(SystemExit, match="no chat template"):
        evaluate.main([f"--data={data}", f"--pair={tiny_pair.out}", "--quick", "--suites", "tools-seen", *paths])
    document = json.loads((tmp_path / "out").read_text())
    assert set(document["suites"]["tools-seen"]["score"]) == set(COLUMNS)
    assert document["about"]["served as"] == "failed"


def test_only_a_full_run_on_test_of_the_shipped_pair_goes_to_the_published_results(
    tiny_pair: TrainedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def record(report: object, out: Path, results: Path) -> str:
        written.append(results)
        return ""

    monkeypatch.setattr(evaluate, "evaluate_pair", lambda *_: (None, None))
    monkeypatch.setattr(evaluate, "write_report", record)
    others = [f"--pair={tiny_pair.out}"], ["--quick"], ["--split=validation"], ["--suites", "conflict"], ["--no-served"]
    for options in ([], *others):
        evaluate.main(["--data=d", *options])
    assert written == [Path("docs/results"), *[Path("build/results")] * len(others)]


def test_evaluate_command_passes_its_options_on(commands: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(evaluate, "main", calls.append)
    arguments = ["--data", "d", "--split", "validation", "--quick", "--results", "r", "--no-served"]
    assert CliRunner().invoke(commands, ["evaluate", *arguments]).exit_code == 0
    expected = (
        "--data=d --pair=models/nano --out=build/eval.json --results=r --runs=runs/evaluation --split=validation "
        "--quantization=Q4_K --device=cpu --no-served --quick"
    )
    assert calls == [expected.split()]
    assert CliRunner().invoke(commands, ["evaluate", "--data", "d", "--split", "train"]).exit_code == 2
    chosen = ["evaluate", "--data", "d", "--suites", "conflict", "--suites", "tools-seen"]
    assert CliRunner().invoke(commands, chosen).exit_code == 0
    assert calls[1][-3:] == ["--suites", "conflict", "tools-seen"]


def test_calibrate_command_passes_its_options_on(commands: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(calibrate, "main", calls.append)
    arguments = ["--data", "d", "--pair", "p", "--edge", "e", "--dry-run"]
    assert CliRunner().invoke(commands, ["calibrate", *arguments]).exit_code == 0
    assert calls == [["--data=d", "--pair=p", "--edge=e", "--device=cpu", "--out=build/confidence.json", "--dry-run"]]
