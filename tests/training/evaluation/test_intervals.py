"""Intervals on known numbers, and what is resampled."""

from dataclasses import replace

import numpy as np
import pytest

from training.evaluation.intervals import Interval, TaskScores, interval, share


def scored(**columns: list[float]) -> list[TaskScores]:
    """Tasks of one input each."""
    rows = zip(*columns.values(), strict=True)
    return [
        TaskScores(str(n), {name: np.array([value]) for name, value in zip(columns, row, strict=True)})
        for n, row in enumerate(rows)
    ]


def test_interval_of_a_fair_coin_is_that_of_the_normal_law() -> None:
    """For 400 tasks, half of them right, the error of the mean is 0.025: 95 % lie within 1.96 of it."""
    found = interval(scored(right=[0.0, 1.0] * 200), "right")
    assert found is not None
    assert found.mean == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)


def test_interval_is_a_point_where_tasks_agree() -> None:
    found = interval(scored(right=[0.75] * 4), "right")
    assert found is not None
    assert (found.mean, found.low, found.high) == (0.75, 0.75, 0.75)


def test_difference_is_paired_by_task() -> None:
    """Tasks differ far more than columns do; the difference of each is the same, and so certain."""
    found = interval(scored(right=[0.2, 0.9, 0.4, 0.6], base=[0.1, 0.8, 0.3, 0.5]), "right", minus="base")
    assert found is not None
    assert found.mean == pytest.approx(0.1)
    assert found.high - found.low < 1e-9


def test_difference_is_over_the_tasks_that_have_both_columns() -> None:
    tasks = [*scored(right=[1.0], base=[0.0]), *scored(right=[0.8], oracle=[0.9])]
    found = interval(tasks, "right", minus="oracle")
    assert found is not None
    assert found.mean == pytest.approx(-0.1)
    assert interval(tasks, "gibberish") is None


def test_tasks_of_a_group_are_resampled_together() -> None:
    """Two groups of fifty tasks vary as two tasks do; one group does not vary at all."""
    tasks = scored(right=[0.0] * 50 + [1.0] * 50)
    grouped = [replace(task, group=str(number // 50)) for number, task in enumerate(tasks)]
    found = interval(grouped, "right")
    assert found is not None
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)
    assert interval([replace(task, group="all") for task in tasks], "right") == Interval(0.5, 0.5, 0.5)


def test_share_of_the_way_to_the_oracle_has_an_interval() -> None:
    """Over the tasks with an oracle, as a ratio of sums: tasks where the oracle gains nothing count as well."""
    tasks = [*scored(right=[0.4, 0.6, 0.5], base=[0.0, 0.2, 0.5], oracle=[0.8, 1.0, 0.5]), *scored(right=[1.0])]
    found = share(tasks, "base")
    assert found is not None
    assert found.mean == pytest.approx(0.5)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    varied = share(scored(right=[0.0, 1.0, 1.0, 0.0], oracle=[1.0] * 4), 0.0)
    assert varied is not None
    assert varied.low < varied.mean == 0.5 < varied.high
    assert share(scored(right=[1.0], base=[0.5], oracle=[0.5]), "base") is None
    assert share(scored(right=[1.0], base=[0.5]), "base") is None


def test_fixed_tasks_vary_by_their_inputs_alone() -> None:
    """Two tasks that differ but whose inputs agree: certain when the tasks are all there are, not when they vary."""
    tasks = [TaskScores(str(v), {"right": np.full(5, v)}) for v in (0.2, 0.8)]
    fixed, sampled = interval(tasks, "right", fixed_tasks=True), interval(tasks, "right")
    assert fixed is not None
    assert sampled is not None
    assert (fixed.low, fixed.high) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (sampled.low, sampled.high) == (pytest.approx(0.2), pytest.approx(0.8))


def test_names_of_calls_have_intervals_of_their_own() -> None:
    tasks = [TaskScores("a", {"right": np.array([0.0])}, {"right": np.array([1.0])})]
    assert interval(tasks, "right", names=True) == Interval(1.0, 1.0, 1.0)
    assert interval(tasks, "base", names=True) is None
