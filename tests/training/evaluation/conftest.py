"""Made-up scores and a report of two suites."""

from typing import Any

import numpy as np
import pytest

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.intervals import TaskScores
from training.evaluation.results import EvaluationReport, SuiteResult
from training.evaluation.suites import Suite, SuiteTask


def scores(name: str, closed: bool = True, **means: float) -> TaskScores:
    """A task of two inputs that all columns answer in a tenth of a second, prompts aside."""
    return TaskScores(
        name,
        {column: np.full(2, mean) for column, mean in means.items()},
        tokens={column: 200.0 if column in ("system", "prompted") else 10.0 for column in means},
        seconds={column: 0.13 if column in ("system", "prompted") else 0.1 for column in means},
        first_seconds={column: 0.5 if column in ("system", "prompted") else 0.1 for column in means},
        closed=closed,
    )


def result(name: str, *tasks: TaskScores, chance: float | None = None, **fields: Any) -> SuiteResult:
    asked = [SuiteTask(task.name, TaskDescription("Do it."), (Instance("a", "b"),) * 2, ()) for task in tasks]
    return SuiteResult(Suite(name, tuple(asked), fields.pop("fixed_tasks", False), lambda _: chance), asked, tasks)


@pytest.fixture
def report() -> EvaluationReport:
    tools = [
        scores("a", base=0.2, system=0.3, prompted=0.3, strongest=0.3, average=0.4, right=0.9, mismatched=0.2),
        scores("b", base=0.2, system=0.3, prompted=0.3, strongest=0.3, average=0.4, right=0.7, mismatched=0.2),
    ]
    conflict = [
        scores("c", base=0.0, system=0.5, prompted=0.5, oracle=1.0, right=0.8, larger=0.6, average=0.1),
        scores("d", base=0.2, system=0.5, prompted=0.5, right=0.4, average=0.1),
    ]
    return EvaluationReport(
        {"pair": "tiny"}, [result("conflict", *conflict, chance=0.5), result("tools-unseen", *tools, chance=0.2)]
    )
