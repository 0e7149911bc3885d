"""How fast models answer, and which of them got slower."""

import pytest

from edge_runtime import speeds as module
from edge_runtime.speeds import Speeds


def _answer(speeds: Speeds, bundle_id: str, *answers: float) -> None:
    for speed in answers:
        speeds.add("mail", bundle_id, speed)


def test_bundle_that_answers_more_slowly_than_the_one_before_is_slower() -> None:
    speeds = Speeds()
    _answer(speeds, "old", *[30.0] * 9)
    assert speeds.slower() == frozenset()
    _answer(speeds, "new", *[15.0] * 8)
    assert speeds.slower() == frozenset(), "too few answers say nothing"
    _answer(speeds, "new", 15.0)
    assert speeds.slower() == {"mail"}
    _answer(speeds, "old", *[30.0] * 9)
    assert speeds.slower() == frozenset(), "and going back mends it"


@pytest.mark.parametrize(
    "after",
    [
        [24.0] * 9,  # as slow as a run-time adapter may be
        [30.0] * 5 + [1.0] * 4,  # some slow answers
        [90.0] * 9,
    ],
)
def test_bundle_that_is_not_clearly_slower_is_not(after: list[float]) -> None:
    speeds = Speeds()
    _answer(speeds, "old", *[30.0] * 9)
    _answer(speeds, "new", *after)
    assert speeds.slower() == frozenset()


def test_bundle_without_one_before_or_with_one_that_hardly_answered_is_not_slower() -> None:
    speeds = Speeds()
    _answer(speeds, "old", *[30.0] * 8)
    _answer(speeds, "new", *[1.0] * 20)
    assert speeds.slower() == frozenset()


def test_what_was_long_before_counts_when_the_one_between_hardly_answered() -> None:
    speeds = Speeds()
    _answer(speeds, "old", *[30.0] * 9)
    _answer(speeds, "between", 30.0)
    _answer(speeds, "new", *[1.0] * 9)
    assert speeds.slower() == {"mail"}


def test_number_of_models_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_MODELS", 2)
    speeds = Speeds()
    for name in ("a", "b", "c", "a"):
        speeds.add(name, "x", 1.0)
    assert speeds.latest() == {"a": 1.0, "b": 1.0}
