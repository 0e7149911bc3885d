"""The tables hold the figures in percent; what was not served has no table."""

from training.evaluation.report import EvaluationReport
from training.evaluation.tables import markdown


def test_tables_hold_scores_and_what_was_served(report: EvaluationReport) -> None:
    text = markdown(report)
    assert "| conflict | 2 | 12 |" in text
    assert "| conflict | 2 | 25.0 | 50.0 | 60.0 | 60.0 | 10.0 | 60.0 | 90.0 | 200 | 50 | 0.99 |" in text
    assert all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))


def test_nothing_is_said_of_what_was_not_served(report: EvaluationReport) -> None:
    assert "## As served" not in markdown(EvaluationReport({}, report.suites[1:]))
