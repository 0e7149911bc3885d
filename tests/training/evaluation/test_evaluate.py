"""Evaluation of the toy pair: every suite with its controls, and what the command writes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from loragen.client import StackError
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.evaluation import evaluate
from training.evaluation.evaluate import Evaluation, EvaluationSizes, evaluate_pair
from training.evaluation.intervals import COLUMNS
from training.evaluation.report import EvaluationReport
from training.evaluation.suites import SuiteSizes
from training.fit.trained_pair import pair_at

SIZES = EvaluationSizes(
    SuiteSizes(tasks=2, samples=2, inputs=2, reasoning_inputs=2),
    oracles=1,
    oracle_steps=2,
    grouped_oracles=2,
    served=0,
)
DRAWN_HERE = ("tasks-seen", "conflict", "tools-seen", "tools-unseen", "tools-renamed")


@pytest.fixture(scope="module")
def report(tiny_pair: TrainedPair, data: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationReport:
    runs = tmp_path_factory.mktemp("runs")
    report, failure = evaluate_pair(Evaluation(pair_at(tiny_pair.out), data, "test", SIZES, runs, DRAWN_HERE))
    assert failure is None
    return report


@pytest.mark.slow
def test_evaluation_scores_every_column_of_every_suite(report: EvaluationReport) -> None:
    assert tuple(result.suite.name for result in report.suites) == DRAWN_HERE
    for result in report.suites:
        assert result.oracles == (2 if result.suite.name == "conflict" else 1)
        for task in result.scores:
            assert set(task.score) | {"oracle"} == set(COLUMNS)
            for values in task.score.values():
                assert 0 <= values.min() <= values.max() <= 1
            assert task.tokens["specialized"] < task.tokens["prompted"]
    assert next(result.suite.chance for result in report.suites if result.suite.name == "conflict") is not None


def test_command_writes_json_table_and_plot(
    tiny_pair: TrainedPair, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "QUICK", SIZES)
    paths = [f"--{name}={tmp_path / name}" for name in ("out", "results", "runs")]
    run_command("evaluate", f"--data={data}", f"--pair={tiny_pair.out}", "--quick", "--suites", "tools-seen", *paths)
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
        run_command(
            "evaluate", f"--data={data}", f"--pair={tiny_pair.out}", "--quick", "--suites", "tools-seen", *paths
        )
    document = json.loads((tmp_path / "out").read_text())
    assert set(document["suites"]["tools-seen"]["score"]) == set(COLUMNS)
    assert document["about"]["served as"] == "failed"
