"""Drawing tasks: different inputs, answers in turn, kinds in turn."""

import random

from cloud_service.task import TaskDescription
from training.data.episodes import Instance
from training.evaluation.suites.tasks import SuiteTask, draw_balanced, draw_distinct, in_order, in_turn, make_task


def test_drawn_inputs_are_different_and_answers_take_turns() -> None:
    pool = [Instance(str(n % 20), "often" if n % 20 < 16 else "rare") for n in range(40)]
    assert len({i.input for i in draw_distinct(random.Random(0), pool, 30)}) == 20
    answers = [instance.output for instance in draw_balanced(random.Random(0), pool, 8)]
    assert sorted(answers) == ["often"] * 4 + ["rare"] * 4
    assert all(set(answers[n : n + 2]) == {"often", "rare"} for n in range(0, 8, 2))


def test_kinds_take_turns_until_there_are_enough() -> None:
    many, few = ([SuiteTask(f"{kind}{n}", (), (), ()) for n in range(count)] for kind, count in (("a", 5), ("b", 1)))
    assert [task.name[0] for task in in_turn(random.Random(0), [many, few], 4)] == ["a", "b", "a", "a"]


def test_descriptions_follow_each_other_and_hold_no_example_that_is_asked_for() -> None:
    practice = [Instance(str(n), "x") for n in range(9)]
    describe = in_order(("first", "second"), start=1)
    task = make_task(random.Random(0), "t", describe, practice[:3], practice, 3, labels=("x", "y"))
    assert [sample.description for sample in task.samples] == ["second", "first", "second"]
    assert task.samples[0] == TaskDescription("second")
    shown = {example.input for sample in task.samples for example in sample.examples}
    assert shown
    assert shown <= {instance.input for instance in task.practice} == {str(n) for n in range(3, 9)}
    assert task.choices == (("x", "y"),) * 3
