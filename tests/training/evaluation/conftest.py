"""A made-up report of two suites, one of them served and one scored by likelihood."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.intervals import TaskScores
from training.evaluation.report import EvaluationReport, SuiteResult
from training.evaluation.served import ServedScores
from training.evaluation.suites import Suite, SuiteTask
from training.evaluation.tables import SERVED_COLUMNS

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
