"""What is asked of a device for each of the three ways, and how answers are scored."""

from dataclasses import dataclass, field

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

    def answer(self, model: str, user: str, max_tokens: int, system: str | None = None) -> Answer:
        self.asked.append((model, user, max_tokens, system))
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
    assert len(ticks) == 3 * len(TASK.cases)


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [(" Yes\n", "yes", True), ("yes.", "yes", False), ("", "yes", False), ("STRASSE", "straße", True)],
)
def test_answer_is_right_when_equal_but_for_case_and_white_space(answer: str, expected: str, right: bool) -> None:
    assert is_right(answer, expected) is right
