"""What is asked of a device for each of the three ways, and how answers are scored."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from demo.clients import Answer
from demo.evaluation import evaluate, is_right
from demo.tasks import Case, DemoTask

TASK = DemoTask(
    "shout", {}, "Shout it.", (Case("a", "A"), Case("b", "B"), Case("c", "C"), Case("d", "D")), max_tokens=7
)


@dataclass
class FakeDevice:
    """Answers in capitals when specialized, for half of the inputs when prompted, never as base."""

    asked: list[tuple[str, str, int, str | None]] = field(default_factory=list)
    guided: list[tuple[str, str | None, tuple[str, ...]]] = field(default_factory=list)

    def answer(
        self, model: str, user: str, max_tokens: int, system: str | None = None, choices: Sequence[str] = ()
    ) -> Answer:
        self.asked.append((model, user, max_tokens, system))
        if choices:
            self.guided.append((model, system, tuple(choices)))
            return Answer("A", 1, 0.001)
        knows = model == "shout" or (system is not None and user in "ab")
        return Answer(user.upper() if knows else "?", len(user) + len(system or ""), 0.002 if system else 0.001)


def test_three_ways_are_scored_apart() -> None:
    evaluation = evaluate(TASK, FakeDevice())
    assert evaluation.base.accuracy == 0
    assert evaluation.prompted.accuracy == 0.5
    assert evaluation.specialized.accuracy == 1
    assert evaluation.prompted.input_tokens == 1 + len("Shout it.")
    assert evaluation.specialized.input_tokens == 1
    assert evaluation.prompted.latency_ms == pytest.approx(2)


def test_only_the_prompted_way_sends_the_prompt() -> None:
    device = FakeDevice()
    evaluate(TASK, device)
    assert {(model, system) for model, _, _, system in device.asked} == {
        ("base", None),
        ("base", "Shout it."),
        ("shout", None),
    }
    assert {max_tokens for _, _, max_tokens, _ in device.asked} == {7}


def test_progress_counts_every_measured_answer() -> None:
    ticks: list[None] = []
    evaluate(TASK, FakeDevice(), lambda: ticks.append(None))
    assert len(ticks) == TASK.ways * len(TASK.cases) == 3 * len(TASK.cases)


def test_closed_set_is_asked_again_with_its_answers_named() -> None:
    device, ticks = FakeDevice(), list[None]()
    task = replace(TASK, choices=("A", "B"))
    evaluation = evaluate(task, device, lambda: ticks.append(None))
    assert set(device.guided) == {("base", "Shout it.", ("A", "B")), ("shout", None, ("A", "B"))}
    assert evaluation.guided_prompted is not None
    assert evaluation.guided_specialized is not None
    assert evaluation.guided_prompted.accuracy == evaluation.guided_specialized.accuracy == 0.25
    assert evaluation.specialized.accuracy == 1
    assert len(ticks) == task.ways * len(task.cases) == 5 * len(task.cases)
    open_set = evaluate(TASK, FakeDevice())
    assert open_set.guided_prompted is open_set.guided_specialized is None


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [(" Yes\n", "yes", True), ("yes.", "yes", False), ("", "yes", False), ("STRASSE", "straße", True)],
)
def test_answer_is_right_when_equal_but_for_case_and_white_space(answer: str, expected: str, right: bool) -> None:
    assert is_right(answer, expected) is right
