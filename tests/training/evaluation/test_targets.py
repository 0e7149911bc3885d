"""Targets are computed from the scores, and what was not measured is neither met nor missed."""

from tests.training.evaluation.conftest import result, scores
from training.evaluation.intervals import Interval
from training.evaluation.results import EvaluationReport
from training.evaluation.targets import Target, targets


def outcomes(rows: list[Target]) -> dict[tuple[str, str], str]:
    return {(row.suite, row.what): row.outcome for row in rows}


def test_outcomes_follow_from_the_scores(report: EvaluationReport) -> None:
    found = outcomes(targets(report.suites))
    assert found["tools-unseen", "right"] == "met"
    assert found["tools-unseen", "over the strongest of base and prompted"] == "met"
    assert found["tools-unseen", "over larger"] == "not measured"
    assert found["conflict", "of the way from chance to oracle"] == "missed"
    assert found["all tools suites", "fewer tokens than prompted"] == "met"
    assert found["all tools suites", "faster answer, prompt not cached"] == "met"
    assert found["all tools suites", "faster answer, prompt cached"] == "met"


def test_nothing_is_met_where_nothing_was_measured() -> None:
    assert set(outcomes(targets([])).values()) == {"not measured"}


def test_classification_is_over_closed_tasks_of_all_task_suites() -> None:
    suites = [
        result("tasks-seen", scores("a", right=0.9, larger=0.5), scores("open", closed=False, right=0.0, larger=1.0)),
        result("tasks-unseen", scores("b", right=0.8, larger=0.6)),
    ]
    (row,) = (row for row in targets(suites) if row.suite == "classification")
    assert row.value is not None
    assert round(row.value.mean, 6) == 0.3
    assert row.outcome == "met"


def test_significance_is_of_the_low_end() -> None:
    assert Target("s", "w", 0.0, Interval(0.1, -0.1, 0.3), "points", significant=True).outcome == "missed"
    assert Target("s", "w", 0.0, Interval(0.1, -0.1, 0.3), "points").outcome == "met"
