"""Conflicting tasks: the same inputs, and what ignoring the description gives."""

from pathlib import Path

import pytest

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.suites import SuiteSizes, SuiteTask, load_suites
from training.evaluation.suites.conflict import chance


def task(name: str, group: str, *answers: str) -> SuiteTask:
    instances = tuple(Instance(f"{group} {number}", answer) for number, answer in enumerate(answers))
    return SuiteTask(name, TaskDescription(name), instances, (), group=group)


def test_chance_is_the_share_of_the_answer_that_most_tasks_of_a_group_want() -> None:
    # Three tasks: two agree on the first input, none on the second. Then two tasks that agree on everything.
    tasks = [task("a", "g", "x", "p"), task("b", "g", "x", "q"), task("c", "g", "y", "r")]
    assert chance(tasks) == pytest.approx((2 / 3 + 1 / 3) / 2)
    tasks += [task("d", "h", "x"), task("e", "h", "x")]
    assert chance(tasks) == pytest.approx((3 * 0.5 + 2 * 1.0) / 5)


def test_groups_share_their_inputs_and_disagree(suite_data: Path) -> None:
    (suite,) = load_suites(suite_data, "test", SuiteSizes(tasks=12, inputs=4), ["conflict"])
    groups: dict[str, list[SuiteTask]] = {}
    for member in suite.tasks:
        groups.setdefault(member.group, []).append(member)
    assert len(groups) >= 3
    for members in groups.values():
        assert len(members) >= 2
        assert len({tuple(i.input for i in member.instances) for member in members}) == 1
        assert len({tuple(i.output for i in member.instances) for member in members}) >= 2
    found = chance(suite.tasks)
    assert found is not None
    assert found < 0.75
