"""Values: the scores of tasks, and rules: their means with intervals, by bootstrap over what was sampled.

`scipy.stats.bootstrap` is not used: it refuses a single group, resamples no inputs within each of several tasks, and
knows no ratio whose denominator may vanish in a draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

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
    """One task's scores, in [0, 1], by column.

    Attributes:
        name: The task.
        score: (inputs,): what the task's metric says.
        names: (inputs,): for function calls, whether the name is right; else empty.
        tokens: Mean tokens of a prompt.
        seconds: Median time of an answer whose prompt begins as the one before did.
        first_seconds: Of the first answer, whose prompt was read from its beginning.
        group: As in `SuiteTask`.
        closed: Whether the answers are a closed set.
    """

    name: str
    score: Mapping[str, Values]
    names: Mapping[str, Values] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    first_seconds: Mapping[str, float] = field(default_factory=dict)
    group: str = ""
    closed: bool = False


def interval(
    tasks: Sequence[TaskScores], column: str, minus: str | None = None, names: bool = False, fixed_tasks: bool = False
) -> Interval | None:
    """Mean over tasks of a column, or of its paired difference to another, over the tasks that have both.

    Resampled are tasks, whose inputs share descriptions, and groups of tasks as a whole, which share inputs; the inputs
    within each task when the tasks are all there are.

    Args:
        tasks: Scores of a suite.
        column: One of theirs.
        minus: The column to subtract.
        names: Of the names of calls in the place of the metric.
        fixed_tasks: Resample inputs, not tasks.

    Returns:
        None when no task has the columns.
    """
    found: list[Values] = []
    groups: list[str] = []
    for task in tasks:
        values = task.names if names else task.score
        if column in values and (minus is None or minus in values):
            groups.append(task.group or task.name)
            found.append(values[column] - values[minus] if minus else values[column])
    if not found:
        return None
    every = np.array([v.mean() for v in found])
    if not fixed_tasks:
        return _ratio(every, np.ones(len(every)), groups)
    rng = np.random.default_rng(0)
    means = np.stack([v[rng.integers(len(v), size=(RESAMPLES, len(v)))].mean(1) for v in found], 1)
    low, high = np.quantile(means.mean(1), (0.025, 0.975))  # of (resamples, tasks)
    return Interval(float(every.mean()), float(low), float(high))


def share(tasks: Sequence[TaskScores], start: float | str) -> Interval | None:
    """Where `right` stands between `start` (0) and the oracle (1), over tasks with an oracle; resampled like a mean.

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


def _ratio(above: Values, below: Values, groups: Sequence[str]) -> Interval:
    """Sum of `above` over sum of `below`, both (tasks,), with groups of tasks resampled."""
    _, group = np.unique(groups, return_inverse=True)
    sums = [np.bincount(group, weights=values) for values in (above, below)]
    drawn = np.random.default_rng(0).integers(len(sums[0]), size=(RESAMPLES, len(sums[0])))
    top, bottom = (values[drawn].sum(1) for values in sums)
    low, high = np.quantile(top[bottom > 0] / bottom[bottom > 0], (0.025, 0.975))
    return Interval(float(above.sum() / below.sum()), float(low), float(high))
