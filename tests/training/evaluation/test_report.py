"""The report has the promised figures, and they are those of the scores."""

import json
from pathlib import Path

import pytest

from training.evaluation.report import document, write_report
from training.evaluation.results import EvaluationReport


def test_suites_have_the_promised_figures(report: EvaluationReport) -> None:
    suites = document(report)["suites"]
    assert list(suites) == ["conflict", "tools-unseen"]
    conflict = suites["conflict"]
    for interval in conflict["score"].values():
        assert interval.keys() == {"mean", "low", "high"}
        assert interval["low"] <= interval["mean"] <= interval["high"]
    assert conflict["score"].keys() == {"base", "prompted", "larger", "average", "right", "oracle"}
    assert (conflict["tasks"], conflict["inputs"], conflict["chance"]) == (2, 4, 0.5)
    assert conflict["score"]["right"]["mean"] == pytest.approx(0.6)
    assert conflict["score"]["larger"]["mean"] == pytest.approx(0.6)
    assert conflict["difference"]["right - larger"]["mean"] == pytest.approx(0.2)
    assert suites["tools-unseen"]["tokens"] == {"system": 200.0, "prompted": 200.0, "right": 10.0}
    assert suites["tools-unseen"]["first_seconds"] == {"prompted": 0.5, "right": 0.1}


def test_written_files_hold_json_and_tables(report: EvaluationReport, tmp_path: Path) -> None:
    text = write_report(report, tmp_path / "build/eval.json", tmp_path / "results")
    assert json.loads((tmp_path / "build/eval.json").read_text()) == json.loads(json.dumps(document(report)))
    assert (tmp_path / "results/evaluation.md").read_text() == text
