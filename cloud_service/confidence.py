"""Rules: what a client is told of how well its task description was understood, and when `strict` refuses it.

The score comes from the generator (`cloud_service.generation.Confidence`); contradictions between examples are found
here, because they are a fact and not a likelihood. Nothing here reads a clock or a store; messages never quote content.
"""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass

from cloud_service.errors import InvalidRequestError, LowConfidenceError
from cloud_service.generation import Confidence
from cloud_service.task import TaskDescription
from loragen.contract.digest import canonical_json

LOW_CONFIDENCE = 0.5
"""Calibration weighs real and unreal descriptions alike: below one half, the prompt looks more like the latter."""


@dataclass(frozen=True, slots=True)
class TaskWarning:
    """Something that a client should know of its task description.

    Attributes:
        code: Part of the interface.
        message: For people; may change.
    """

    code: str
    message: str


def find_warnings(task: TaskDescription, confidence: Confidence | None) -> tuple[TaskWarning, ...]:
    """What is to be said of a task."""
    warnings = []
    if confidence is not None and confidence.score < LOW_CONFIDENCE:
        warnings.append(TaskWarning("low_confidence", "this does not read like a task that the generator can follow"))
    if confidence is not None and not confidence.is_familiar:
        warnings.append(
            TaskWarning("far_from_training", "this is far from every description that the generator was trained on")
        )
    if numbers := _find_contradictions(task):
        told = ", ".join(map(str, numbers))
        warnings.append(TaskWarning("contradictory_examples", f"examples {told} repeat an input with another output"))
    return tuple(warnings)


def verify_confident(confidence: Confidence | None) -> None:
    """Return when a strict request may be answered.

    Raises:
        LowConfidenceError: The score is low.
        InvalidRequestError: The generator cannot tell.
    """
    if confidence is None:
        raise InvalidRequestError(
            "expected a generator that tells its confidence, found one that was not calibrated",
            "leave out strict, or calibrate the generator: python -m training.fit.calibrate",
            code="generator_not_calibrated",
        )
    if confidence.score < LOW_CONFIDENCE:
        raise LowConfidenceError(
            f"expected an confidence of at least {LOW_CONFIDENCE}, found {confidence.score:.2f}",
            "say what the input is and what to answer, add examples or tools, or leave out strict",
        )


def encode_note(confidence: Confidence | None) -> bytes:
    """What the store keeps of a request beside its LoRA."""
    return b"" if confidence is None else canonical_json(asdict(confidence))


def parse_note(note: bytes) -> Confidence | None:
    """The confidence noted; None where there is none, or where it cannot be read."""
    try:
        fields = json.loads(note)
        return Confidence(float(fields["score"]), bool(fields["is_familiar"]))
    except (ValueError, KeyError, TypeError):
        return None


def _find_contradictions(task: TaskDescription) -> list[int]:
    """Numbers, from 1, of examples whose input another example answers otherwise."""
    numbers: dict[str, list[int]] = defaultdict(list)
    outputs: dict[str, set[str]] = defaultdict(set)
    for number, example in enumerate(task.normalized().examples, 1):
        numbers[example.input].append(number)
        outputs[example.input].add(example.output)
    return sorted(number for text, found in outputs.items() if len(found) > 1 for number in numbers[text])
