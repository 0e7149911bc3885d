"""The paper's eight sets."""

from training.evaluation.suites import Suite
from training.evaluation.suites.reasoning import SETS


def test_reasoning_examples_and_questions_come_from_different_records(suites: dict[str, Suite]) -> None:
    reasoning = suites["reasoning"]
    assert reasoning.fixed_tasks
    assert reasoning.tasks[0].name == "reasoning/arc-c"
    assert len(reasoning.tasks) == 8
    for task in reasoning.tasks:
        assert task.metric == "exact"
        assert len(task.choices) == len(task.instances) == 5


def test_every_reasoning_set_is_described_thrice() -> None:
    assert len(SETS) == 8
    assert all(len(set(known.descriptions)) == 3 for known in SETS.values())
