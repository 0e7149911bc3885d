"""Evaluation of the toy pair: every column of every suite, what time allows, and what a second call adds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import pytest

from cloud_service.task import TaskDescription
from edge_runtime.convert import FloatType, convert_model
from loragen.client import StackError
from loragen.device_answers import ServedModel
from tests.training.commands import run_command
from tests.training.conftest import TrainedPair
from training.data.episodes import Instance
from training.evaluation import evaluate
from training.evaluation.evaluate import Evaluation, closed_set, evaluate_pair, units_of
from training.evaluation.records import Answers
from training.evaluation.services import Way
from training.evaluation.suites import SuiteSizes, SuiteTask
from training.fit.trained_pair import pair_at

SIZES = SuiteSizes(tasks=3, inputs=2, reasoning_inputs=2)
LARGER = Way("larger")
DRAWN_HERE = ("tasks-seen", "conflict", "tools-seen", "tools-unseen", "calls-unseen")


class FakeServices:
    """Services whose right specialization knows every answer, and all others none.

    Attributes:
        asked: Tasks, and how each was asked, in this order, over all of these services.
        refused: Names of specializations that are refused.
        failing: A service ends when so many were asked.
    """

    asked: ClassVar[list[tuple[str, Way]]]
    refused: ClassVar[frozenset[str]] = frozenset()
    failing: ClassVar[int] = 10**6

    def __init__(self, *_: object) -> None:
        self._served: dict[str, TaskDescription] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def specialize_average(self, descriptions: Sequence[TaskDescription]) -> None:
        assert len(descriptions) == evaluate.AVERAGED

    def specialize(self, name: str, task: TaskDescription, choices: Sequence[str] = ()) -> ServedModel | None:
        if name in self.refused:
            return None
        self._served[name] = task
        return ServedModel(name, "merged", residual_prompt=task.output_format)

    def ask_larger(self, task: SuiteTask) -> Answers:
        return self.ask(task, LARGER)

    def ask(self, task: SuiteTask, way: Way) -> Answers:
        if len(self.asked) >= self.failing:
            raise StackError("the device ended")
        self.asked.append((task.name, way))
        known = way.model is not None and self._served.get(way.model) == task.description
        texts = tuple(instance.output if known else "?" for instance in task.instances)
        return Answers(texts, (0.5, *(0.1,) * (len(texts) - 1)), (20 if way.system else 10,) * len(texts))


@pytest.fixture
def services(monkeypatch: pytest.MonkeyPatch) -> type[FakeServices]:
    class Fresh(FakeServices):
        asked: ClassVar[list[tuple[str, Way]]] = []

    monkeypatch.setattr(evaluate, "Services", Fresh)
    return Fresh


@pytest.fixture
def evaluation(tiny_pair: TrainedPair, data: Path, tmp_path: Path) -> Evaluation:
    return Evaluation(pair_at(tiny_pair.out), data, suites=DRAWN_HERE, sizes=SIZES, runs=tmp_path)


def named(name: str, closed: bool = False, group: str = "") -> SuiteTask:
    choices = (("a", "b"),) if closed else ()
    return SuiteTask(name, TaskDescription(name), (Instance(name, "a"),), (), choices, group=group)


def test_every_column_of_every_suite_is_scored(evaluation: Evaluation, services: type[FakeServices]) -> None:
    report, failure = evaluate_pair(evaluation)
    assert failure is None
    assert tuple(result.suite.name for result in report.suites) == DRAWN_HERE
    for result in report.suites:
        right, base, mismatched = (result.interval(column) for column in ("right", "base", "mismatched"))
        assert right is not None
        assert base is not None
        assert mismatched is not None
        assert (right.mean, base.mean, mismatched.mean) == (1.0, 0.0, 0.0)
        for task in result.scores:
            assert {*evaluate.SERVED, "mismatched", "prompted", "strongest", "turns"} == set(task.score)
    assert LARGER not in [way for _, way in services.asked]
    kept = {(t.name, t.description.output_format or None) for r in report.suites for t in r.tasks}
    assert {(name, way.system) for name, way in services.asked if way.model == "average"} == kept
    turned = {name for name, way in services.asked if way.shots}
    assert turned == {t.name for r in report.suites for t in r.tasks if t.description.examples}


def test_second_call_asks_only_what_is_missing(
    evaluation: Evaluation, services: type[FakeServices], tmp_path: Path
) -> None:
    first, _ = evaluate_pair(evaluation)
    services.asked.clear()
    second, _ = evaluate_pair(evaluation)
    assert not services.asked
    assert [result.scores[0].score.keys() for result in second.suites] == [
        result.scores[0].score.keys() for result in first.suites
    ]
    larger = replace(evaluation, larger=tmp_path / "larger.gguf")
    third, _ = evaluate_pair(larger)
    assert services.asked
    assert {way for _, way in services.asked} == {LARGER}
    assert all(result.count("larger") == len(result.scores) for result in third.suites)


def test_suites_take_turns_until_time_is_up(
    evaluation: Evaluation, services: type[FakeServices], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves by a minute whenever it is read: a unit is not begun that would end too late."""
    minutes = iter(range(10**6))
    monkeypatch.setattr(evaluate.time, "monotonic", lambda: 60.0 * next(minutes))
    report, failure = evaluate_pair(replace(evaluation, minutes=5.0))
    assert failure is None
    assert [result.suite.name for result in report.suites] == ["tasks-seen", "conflict"]
    assert all(len(result.scores) >= 2 for result in report.suites)


def test_what_was_answered_is_reported_when_a_service_ends(
    evaluation: Evaluation, services: type[FakeServices]
) -> None:
    services.failing = 30
    report, failure = evaluate_pair(evaluation)
    assert isinstance(failure, StackError)
    assert report.suites
    services.failing = 10**6
    report, failure = evaluate_pair(evaluation)
    assert failure is None
    assert tuple(result.suite.name for result in report.suites) == DRAWN_HERE


def test_refused_specialization_is_asked_as_none(evaluation: Evaluation, services: type[FakeServices]) -> None:
    services.refused = frozenset({"task-0"})
    evaluate_pair(evaluation)
    models = {way.model for _, way in services.asked}
    assert None in models
    assert "task-0" not in models
    assert {"base", "average", "task-1", "gibberish"} < models


def test_units_are_groups_or_pairs_of_one_kind() -> None:
    open_, closed = [named(f"o{n}") for n in range(3)], [named(f"c{n}", closed=True) for n in range(2)]
    pairs = units_of([open_[0], closed[0], open_[1], open_[2], closed[1]])
    assert pairs == [(open_[0], open_[1]), (closed[0], closed[1], open_[2])]
    grouped = [named(f"g{n}", group=str(n // 3)) for n in range(6)]
    assert units_of(grouped) == [tuple(grouped[:3]), tuple(grouped[3:])]
    assert units_of([open_[0]]) == [(open_[0],)]
    assert units_of([open_[0], closed[0]]) == [(open_[0], closed[0])]
    assert units_of([]) == []


def test_set_is_closed_where_all_inputs_share_it() -> None:
    shared = SuiteTask("s", TaskDescription(""), (), (), (("a", "b"), ("a", "b")))
    own = SuiteTask("s", TaskDescription(""), (), (), (("a", "b"), ("c", "d")))
    assert closed_set(shared) == ("a", "b")
    assert closed_set(own) == closed_set(named("open")) == ()


def test_command_writes_json_and_tables(
    tiny_pair: TrainedPair, data: Path, tmp_path: Path, services: type[FakeServices]
) -> None:
    paths = [f"--{name}={tmp_path / name}" for name in ("out", "results", "runs")]
    run_command("evaluate", f"--data={data}", f"--pair={tiny_pair.out}", "--suites", "tools-seen", *paths)
    document = json.loads((tmp_path / "out").read_text())
    assert list(document["suites"]) == ["tools-seen"]
    assert (tmp_path / "results/evaluation.md").read_text().startswith("# Evaluation")


@pytest.mark.slow
def test_toy_pair_is_evaluated_through_both_services(tiny_pair: TrainedPair, data: Path, tmp_path: Path) -> None:
    pair, larger = pair_at(tiny_pair.out), tmp_path / "larger.gguf"
    convert_model(Path(pair.edge_model), larger, FloatType.F16, "larger")
    sizes = SuiteSizes(tasks=2, inputs=2)
    names = ["tools-seen", "calls-unseen"]
    evaluation = Evaluation(pair, data, suites=names, larger=larger, sizes=sizes, runs=tmp_path)
    report, failure = evaluate_pair(evaluation)
    assert failure is None
    for result in report.suites:
        assert len(result.scores) == 2
        for task in result.scores:
            assert {*evaluate.SERVED, "mismatched", "larger"} <= task.score.keys()
    # The toy generator refuses larger sets than it has codes for.
    answered = [task for result in report.suites for task in result.scores if "right" in task.tokens]
    assert len(answered) > 1
    assert all(task.tokens["right"] < task.tokens["system"] for task in answered)
