"""Figures of a suite are over the tasks that have what a figure needs."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.evaluation.conftest import result, scores
from training.evaluation.results import EvaluationReport


def test_shares_are_over_the_tasks_that_have_an_oracle(report: EvaluationReport) -> None:
    conflict, tools = report.suites
    gain, way = conflict.oracle_gain(), conflict.chance_to_oracle()
    assert gain is not None
    assert way is not None
    assert gain.mean == pytest.approx(0.8)
    assert way.mean == pytest.approx((0.8 - 0.5) / (1.0 - 0.5))
    assert tools.oracle_gain() is None
    assert tools.chance_to_oracle() is None


def test_columns_that_no_task_has_are_none(report: EvaluationReport) -> None:
    conflict, tools = report.suites
    assert (conflict.inputs, conflict.chance, conflict.count("larger"), tools.count("larger")) == (4, 0.5, 1, 0)
    assert tools.interval("larger") is None
    assert tools.interval("right", "larger") is None
    assert tools.tokens("larger") is None
    assert tools.seconds("larger") is None


def test_tokens_are_a_mean_and_times_a_median() -> None:
    tasks = [replace(scores(name, right=1.0), tokens={"right": n}, seconds={"right": n}) for name, n in TIMES]
    suite = result("any", *tasks)
    assert suite.tokens("right") == pytest.approx(np.mean([n for _, n in TIMES]))
    assert suite.seconds("right") == 2.0
    assert suite.seconds("right", first=True) == 0.1


TIMES = (("a", 1.0), ("b", 2.0), ("c", 30.0))
