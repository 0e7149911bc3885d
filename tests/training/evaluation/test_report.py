"""The report has the promised shape, and its figures are those of the scores."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.intervals import COLUMNS, TaskScores
from training.evaluation.report import EvaluationReport, SuiteResult, document, write_report
from training.evaluation.served import ServedScores
from training.evaluation.suites import Suite, SuiteTask
from training.evaluation.tables import SERVED_COLUMNS, markdown

TOKENS = {"prompted": 100.0, "specialized": 10.0}


def scores(name: str, **means: float) -> TaskScores:
    values = {column: np.full((1 if column in ("base", "oracle") else 3, 2), mean) for column, mean in means.items()}
    return TaskScores(name, values, values, TOKENS)


def suite(name: str, tasks: list[TaskScores], **fields: Any) -> Suite:
    """A suite of these tasks, each of two inputs under three descriptions."""
    task = SuiteTask("", (TaskDescription("Do it."),) * 3, (Instance("a", "b"),) * 2, ())
    return Suite(name, tuple(replace(task, name=scored.name) for scored in tasks), **fields)


@pytest.fixture
def report() -> EvaluationReport:
    near = [
        scores("a", base=0.0, prompted=0.5, oracle=1.0, right=0.8, mismatched=0.1, gibberish=0.0),
        scores("b", base=0.2, prompted=0.5, right=0.4, mismatched=0.1, gibberish=0.0),
    ]
    served = [
        ServedScores(
            "a",
            {"base": 0.0, "prompted": 0.5, "right": 0.7},
            {"base": 0.1, "prompted": 0.6, "right": 0.9},
            {"prompted": 0.2, "specialized": 0.05},
            TOKENS,
            0.99,
            1.0,
        ),
        ServedScores(
            "b", dict.fromkeys(SERVED_COLUMNS, 0.5), {}, {"prompted": 0.2, "specialized": 0.05}, TOKENS, 1.0, 1.0
        ),
    ]
    eight = [
        scores(f"reasoning/{n}", base=0.25, prompted=0.25, right=0.5, mismatched=0.25, gibberish=0.25) for n in "xy"
    ]
    return EvaluationReport(
        {"pair": "tiny"},
        [
            SuiteResult(suite("conflict", near, chance=0.5), near, served),
            SuiteResult(suite("reasoning", eight, chance=0.25, fixed_tasks=True, by_likelihood=True), eight),
        ],
    )


def test_suites_have_the_promised_figures(report: EvaluationReport) -> None:
    suites = document(report)["suites"]
    assert list(suites) == ["conflict", "reasoning"]
    for suite in suites.values():
        assert suite.keys() == {"tasks", "instances", "score", "tokens"}
        assert suite["tokens"] == TOKENS
        for column in suite["score"].values():
            assert column.keys() == {"mean", "low", "high"}
            assert column["low"] <= column["mean"] <= column["high"]
    assert suites["conflict"]["score"].keys() == set(COLUMNS)
    assert suites["conflict"]["tasks"] == 2
    assert suites["conflict"]["instances"] == 12
    assert suites["conflict"]["score"]["right"]["mean"] == pytest.approx(0.6)
    assert suites["conflict"]["score"]["oracle"]["mean"] == 1.0


def test_shares_are_over_the_tasks_that_have_an_oracle(report: EvaluationReport) -> None:
    conflict = report.suites[0]
    gain, way = conflict.oracle_gain(), conflict.chance_to_oracle()
    assert gain is not None
    assert way is not None
    assert gain.mean == pytest.approx(0.8)
    assert way.mean == pytest.approx((0.8 - 0.5) / (1.0 - 0.5))
    assert "| 80 (80 to 80) | 50.0; 60 (60 to 60) % of the way to the oracle |" in markdown(report)
    assert report.suites[1].oracle_gain() is None
    assert report.suites[1].chance_to_oracle() is None


def test_written_files_hold_json_a_table_and_a_plot(report: EvaluationReport, tmp_path: Path) -> None:
    text = write_report(report, tmp_path / "build/eval.json", tmp_path / "results")
    assert json.loads((tmp_path / "build/eval.json").read_text()) == json.loads(json.dumps(document(report)))
    assert (tmp_path / "results/evaluation.md").read_text() == text
    assert (tmp_path / "results/evaluation.png").read_bytes().startswith(b"\x89PNG")
    assert "| conflict | 2 | 12 |" in text
    assert "| harmonic mean |" in text
    assert "near chance" in text
    assert "## As served" in text
    assert "| conflict | 2 | 25.0 | 50.0 | 60.0 | 60.0 | 10.0 | 60.0 | 90.0 | 200 | 50 | 0.99 |" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_nothing_is_said_of_what_was_not_served(report: EvaluationReport) -> None:
    unserved = EvaluationReport({}, report.suites[1:])
    assert document(unserved)["details"]["reasoning"]["seconds"] == {}
    assert document(unserved)["details"]["reasoning"]["served"] == []
