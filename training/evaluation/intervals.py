"""Values: the scores of tasks, and rules: their means with intervals, by bootstrap over what was sampled.

`scipy.stats.bootstrap` is not used: it refuses a single group, resamples no inputs within each of several tasks, and
knows no ratio whose denominator may vanish in a draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

COLUMNS = ("base", "prompted", "oracle", "right", "mismatched", "gibberish")
RESAMPLES = 2000

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TaskScores:
    """One task's scores, in [0, 1].

    Attributes:
        name: The task.
        score: By column, (samples, inputs): what the task's metric says; one row for base and oracle.
        choice: The same for the choice by likelihood, where the answers are a closed set, else empty.
        tokens: Mean input tokens of the edge model, by `prompted` and `specialized`.
        group: As in `SuiteTask`.
    """

    name: str
    score: Mapping[str, Values]
    choice: Mapping[str, Values]
    tokens: Mapping[str, float]
    group: str = ""


def interval(
    tasks: Sequence[TaskScores],
    column: str,
    minus: str | None = None,
    choice: bool = False,
    fixed_tasks: bool = False,
    harmonic: bool = False,
) -> Interval | None:
    """Mean over tasks of a column, or of its paired difference to another, over the tasks that have both.

    Resampled are tasks, whose inputs share descriptions, and groups of tasks as a whole, which share inputs; the inputs
    within each task when the tasks are all there are.

    Args:
        tasks: Scores of a suite.
        column: One of `COLUMNS`.
        minus: The column to subtract.
        choice: Of the choice by likelihood in the place of the metric.
        fixed_tasks: Resample inputs, not tasks.
        harmonic: The harmonic mean over tasks, for `fixed_tasks` alone.

    Returns:
        None when no task has the columns.
    """
    found: list[Values] = []
    groups: list[str] = []
    for task in tasks:
        values = task.choice if choice else task.score
        if column in values and (minus is None or minus in values):
            groups.append(task.group or task.name)
            means = values[column].mean(0)  # (inputs,)
            found.append(means - values[minus].mean(0) if minus else means)
    if not found:
        return None
    every = np.array([v.mean() for v in found])
    if not fixed_tasks:
        return _ratio(every, np.ones(len(every)), groups)
    rng = np.random.default_rng(0)
    means = np.stack([v[rng.integers(len(v), size=(RESAMPLES, len(v)))].mean(1) for v in found], 1)
    mean = stats.hmean if harmonic else np.mean
    low, high = np.quantile(mean(means, axis=-1), (0.025, 0.975))  # of (resamples, tasks)
    return Interval(float(mean(every)), float(low), float(high))


def share(tasks: Sequence[TaskScores], start: float | str) -> Interval | None:
    """How far right comes on the way from `start` to the oracle, over the tasks with an oracle; resampled as a mean is.

    Args:
        tasks: Scores of a suite.
        start: A column, or one score for all tasks.

    Returns:
        None when the oracle is no better than the start.
    """
    trained = [task for task in tasks if "oracle" in task.score]
    starts = np.array([task.score[start].mean() if isinstance(start, str) else start for task in trained])
    right, oracle = (np.array([t.score[column].mean() for t in trained]) for column in ("right", "oracle"))
    if not trained or (oracle - starts).sum() <= 0:
        return None
    return _ratio(right - starts, oracle - starts, [task.group or task.name for task in trained])


def sample_spread(tasks: Sequence[TaskScores], column: str = "right") -> float:
    """Standard deviation between the description samples of a task, averaged over tasks."""
    spreads = [float(task.score[column].mean(1).std()) for task in tasks if column in task.score]
    return sum(spreads) / len(spreads) if spreads else 0.0


def _ratio(above: Values, below: Values, groups: Sequence[str]) -> Interval:
    """Sum of `above` over sum of `below`, both (tasks,), with groups of tasks resampled."""
    _, group = np.unique(groups, return_inverse=True)
    sums = [np.bincount(group, weights=values) for values in (above, below)]
    drawn = np.random.default_rng(0).integers(len(sums[0]), size=(RESAMPLES, len(sums[0])))
    top, bottom = (values[drawn].sum(1) for values in sums)
    low, high = np.quantile(top[bottom > 0] / bottom[bottom > 0], (0.025, 0.975))
    return Interval(float(above.sum() / below.sum()), float(low), float(high))
