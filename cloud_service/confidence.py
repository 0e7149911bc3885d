"""Rules of confidence: which warnings an answer carries, and when a strict request is refused.

The generator estimates the confidence (`cloud_service.generation.Confidence`), the share of a task's inputs that its
LoRA gains. Contradictions of examples, to each other and to what the task names, are facts and no estimates. Messages
never quote what a client wrote.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cloud_service.answer.contract import find_outside
from cloud_service.errors import InvalidRequestError, LowConfidenceError
from cloud_service.generation import Confidence
from cloud_service.task import TaskDescription
from loragen.contract.digest import canonical_json

LOW_CONFIDENCE = 0.5
"""Below one half, the LoRA is expected to change nothing for the better on most inputs."""


MOST_NAMED = 16
"""Examples that one warning names."""


@dataclass(frozen=True, slots=True)
class DescriptionWarning:
    """Something that a client should know of its task description.

    Attributes:
        code: Part of the interface.
        message: For people; may change.
    """

    code: str
    message: str


def find_warnings(task: TaskDescription, confidence: Confidence | None) -> tuple[DescriptionWarning, ...]:
    """The warnings for a task."""
    warnings = []
    if confidence is not None and confidence.score < LOW_CONFIDENCE:
        message = (
            f"about {confidence.score:.0%} of the inputs should be answered right with this LoRA and not without it; "
            "probe it with inputs of your own or with the examples (probe_examples), or say more of the task"
        )
        warnings.append(DescriptionWarning("low_confidence", message))
    if confidence is not None and not confidence.is_familiar:
        warnings.append(
            DescriptionWarning("far_from_training", "this is far from every task on which the confidence was fitted")
        )
    if numbers := _find_contradictions(task):
        examples = ", ".join(map(str, numbers))
        message = f"examples {examples} repeat an input with another output"
        warnings.append(DescriptionWarning("contradictory_examples", message))
    if outside := find_outside(task):
        examples = ", ".join(map(str, outside[:MOST_NAMED])) + ("" if len(outside) <= MOST_NAMED else ", ...")
        message = (
            f"examples {examples} show none of the answers that the task names, so that answers may be any text; "
            "correct them, or say in answer what an answer may be"
        )
        warnings.append(DescriptionWarning("examples_outside", message))
    return tuple(warnings)


def verify_confident(confidence: Confidence | None) -> None:
    """Return when a strict request may be answered.

    Raises:
        LowConfidenceError: The confidence is low.
        InvalidRequestError: The generator was not calibrated and cannot estimate it.
    """
    if confidence is None:
        raise InvalidRequestError(
            "expected a generator with a confidence, found one that was not calibrated",
            "leave out strict, or calibrate the generator: python -m training calibrate",
            code="generator_not_calibrated",
        )
    if confidence.score < LOW_CONFIDENCE:
        raise LowConfidenceError(
            f"expected a confidence of at least {LOW_CONFIDENCE}, found {confidence.score:.2f}, the share of the inputs"
            " that should be answered right with the LoRA and not without it",
            "say what input and answer are, send a probe, or examples with probe_examples, or leave strict out",
        )


def encode_note(confidence: Confidence | None) -> bytes:
    """The note that the store holds beside a request's LoRA."""
    return b"" if confidence is None else canonical_json(asdict(confidence))


def parse_note(note: bytes) -> Confidence | None:
    """The confidence in a note; None when the note is empty or unreadable."""
    try:
        fields = json.loads(note)
        return confidence_of(fields)
    except (ValueError, KeyError, TypeError):
        return None


def confidence_of(fields: Mapping[str, Any]) -> Confidence:
    """A confidence from its fields as they were stored.

    Raises:
        KeyError, TypeError, ValueError: They are none.
    """
    return Confidence(float(fields["score"]), bool(fields["is_familiar"]), float(fields["weight"]))


def _find_contradictions(task: TaskDescription) -> list[int]:
    """Numbers, from 1, of the examples whose input has another output in another example."""
    numbers: dict[str, list[int]] = defaultdict(list)
    outputs: dict[str, set[str]] = defaultdict(set)
    for number, example in enumerate(task.normalized().examples, 1):
        numbers[example.input].append(number)
        outputs[example.input].add(example.output)
    return sorted(number for text, found in outputs.items() if len(found) > 1 for number in numbers[text])
