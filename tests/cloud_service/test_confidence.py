"""What is told of a task, and what strict refuses."""

import pytest

from cloud_service.confidence import LOW_CONFIDENCE, encode_note, find_warnings, parse_note, verify_confident
from cloud_service.errors import InvalidRequestError, LowConfidenceError
from cloud_service.generation import Confidence
from cloud_service.task import Example, TaskDescription

PLAIN = TaskDescription("Sort the mail.")
GOOD = Confidence(0.9, is_familiar=True)


def _codes(task: TaskDescription, confidence: Confidence | None) -> list[str]:
    return [warning.code for warning in find_warnings(task, confidence)]


def _task(*examples: tuple[str, str]) -> TaskDescription:
    return TaskDescription("Sort.", tuple(Example(*example) for example in examples))


@pytest.mark.parametrize(
    ("confidence", "codes"),
    [
        (None, []),
        (GOOD, []),
        (Confidence(LOW_CONFIDENCE, True), []),
        (Confidence(0.49, True), ["low_confidence"]),
        (Confidence(0.9, False), ["far_from_training"]),
        (Confidence(0.0, False), ["low_confidence", "far_from_training"]),
    ],
)
def test_low_and_unfamiliar_are_warned_of(confidence: Confidence | None, codes: list[str]) -> None:
    assert _codes(PLAIN, confidence) == codes


@pytest.mark.parametrize(
    ("task", "codes"),
    [
        (_task(("a", "x"), ("b", "y")), []),
        (_task(("a", "x"), ("a", "x")), []),
        (_task(("a", "x"), ("b", "x"), ("a", "y")), ["contradictory_examples"]),
        (_task(("a ", "x"), ("a", "x \n")), []),
        (_task((" a", "x"), ("a", "y")), ["contradictory_examples"]),
    ],
)
def test_same_input_with_other_outputs_is_a_contradiction_whatever_the_score(
    task: TaskDescription, codes: list[str]
) -> None:
    assert _codes(task, None) == _codes(task, GOOD) == codes


def test_contradiction_names_the_examples_by_number_and_quotes_nothing() -> None:
    (warning,) = find_warnings(_task(("secret", "one"), ("other", "one"), ("secret", "two")), None)
    assert warning.message.startswith("examples 1, 3 ")
    assert "secret" not in warning.message


def test_examples_outside_of_the_labels_are_warned_of() -> None:
    """By number, and of many the first ones."""
    task = TaskDescription("Labels: good, bad", tuple(Example(str(n), "fine") for n in range(20)))
    (warning,) = find_warnings(task, GOOD)
    assert warning.code == "examples_outside"
    assert "examples 1, 2, 3" in warning.message
    assert ", 16, ..." in warning.message
    assert "fine" not in warning.message


def test_strict_refuses_low_confidence_and_a_generator_that_cannot_tell() -> None:
    verify_confident(GOOD)
    verify_confident(Confidence(LOW_CONFIDENCE, False))
    with pytest.raises(LowConfidenceError, match=r"at least 0\.5, found 0\.25, the share of the inputs"):
        verify_confident(Confidence(0.25, True))
    with pytest.raises(InvalidRequestError) as refused:
        verify_confident(None)
    assert refused.value.code == "generator_not_calibrated"


def test_low_confidence_is_said_as_a_share_of_the_inputs() -> None:
    (warning,) = find_warnings(PLAIN, Confidence(0.28, is_familiar=True))
    assert "about 28% of the inputs should be answered right with this LoRA" in warning.message


@pytest.mark.parametrize("confidence", [None, GOOD, Confidence(1 / 3, False)])
def test_note_keeps_every_bit(confidence: Confidence | None) -> None:
    assert parse_note(encode_note(confidence)) == confidence


@pytest.mark.parametrize(
    "note", [b"", b"junk", b"\xff", b"[]", b"{}", b'{"score": 2, "is_familiar": true}', b'{"score": null}']
)
def test_note_that_cannot_be_read_is_none(note: bytes) -> None:
    assert parse_note(note) is None


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan")])
def test_confidence_outside_of_0_to_1_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        Confidence(score, True)
