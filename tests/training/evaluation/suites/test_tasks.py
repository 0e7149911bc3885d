"""Drawing tasks: different inputs, answers in turn, kinds in turn."""

import random

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.suites.tasks import (
    SuiteTask,
    draw_balanced,
    draw_distinct,
    guessing,
    in_turn,
    make_task,
    one_of,
)


def test_drawn_inputs_are_different_and_answers_take_turns() -> None:
    pool = [Instance(str(n % 20), "often" if n % 20 < 16 else "rare") for n in range(40)]
    assert len({i.input for i in draw_distinct(random.Random(0), pool, 30)}) == 20
    answers = [instance.output for instance in draw_balanced(random.Random(0), pool, 8)]
    assert sorted(answers) == ["often"] * 4 + ["rare"] * 4
    assert all(set(answers[n : n + 2]) == {"often", "rare"} for n in range(0, 8, 2))


def test_kinds_take_turns_until_there_are_enough() -> None:
    many, few = (
        [SuiteTask(f"{kind}{n}", TaskDescription(""), (), ()) for n in range(count)]
        for kind, count in (("a", 5), ("b", 1))
    )
    assert [task.name[0] for task in in_turn(random.Random(0), [many, few], 4)] == ["a", "b", "a", "a"]


def test_description_holds_no_example_that_is_asked_for() -> None:
    practice = [Instance(str(n), "x") for n in range(9)]
    describe = one_of(("first", "second"))
    tasks = [make_task(random.Random(n), "t", describe, practice[:3], practice, labels=("x", "y")) for n in range(20)]
    assert {task.description.description for task in tasks} == {"first", "second"}
    assert {len(task.description.examples) for task in tasks} == {0, 1, 2, 3, 4}
    shown = {example.input for task in tasks for example in task.description.examples}
    assert shown == {instance.input for instance in tasks[0].practice} == {str(n) for n in range(3, 9)}
    assert tasks[0].choices == (("x", "y"),) * 3


def test_guessing_is_known_where_every_set_is_closed() -> None:
    closed = SuiteTask("a", TaskDescription(""), (), (), (("x", "y"), ("x", "y", "z", "w")))
    assert guessing([closed, closed]) == 0.375
    assert guessing([closed, SuiteTask("b", TaskDescription(""), (), ())]) is None
    assert guessing([]) is None
