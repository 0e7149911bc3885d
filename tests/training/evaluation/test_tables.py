"""The tables hold the figures in percent."""

from dataclasses import replace

import numpy as np

from tests.training.evaluation.conftest import result, scores
from training.evaluation.results import EvaluationReport
from training.evaluation.tables import markdown


def test_tables_hold_scores_costs_and_targets(report: EvaluationReport) -> None:
    text = markdown(report)
    assert "| tools-unseen | right | at least 75.0 % | 80.0 % (70.0 to 90.0) | met |" in text
    assert "| tools-seen | right | at least 85.0 % |  | not measured |" in text
    assert "| conflict | of the way from chance to oracle | at least 80.0 % | 60.0 % | missed |" in text
    assert "| conflict | 2 | 4 | 10.0 (0.0 to 20.0) | 50.0 (50.0 to 50.0) | 60.0 (60.0 to 60.0) [1] |" in text
    assert "| tools-unseen | 200 | 10 | 500 | 130 | 100 |" in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_names_of_calls_are_reported_beside_whole_calls() -> None:
    task = replace(scores("a", right=0.0), names={"right": np.ones(2)})
    text = markdown(EvaluationReport({}, [result("calls-unseen", task)]))
    assert "`calls-unseen`, the name alone right: right 100.0 (100.0 to 100.0).\n" in text
