"""The report has the promised figures, and they are those of the scores."""

import json
from pathlib import Path

import pytest

from tests.training.evaluation.conftest import TOKENS
from training.evaluation.intervals import COLUMNS
from training.evaluation.report import EvaluationReport, document, write_report
from training.evaluation.tables import markdown


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
