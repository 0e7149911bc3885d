"""Answers as they go over the wire."""

import numpy as np

from cloud_service.confidence import TaskWarning
from cloud_service.generation import Confidence, ProbeScores
from cloud_service.http.answer_schemas import GenerateLoraAnswer
from cloud_service.probing import ProbeComparison
from cloud_service.service import GeneratedLora, Timings
from cloud_service.store import StoredLora
from loragen.contract.recipe import Recipe

RECIPE = Recipe("fake", "0" * 64, "1" * 64, "tiny-edge", "2" * 64, 12, np.full((1, 1, 2), 1 / 3, np.float32))


def _answer(**changes: object) -> dict[str, object]:
    values: dict[str, object] = {
        "lora": StoredLora("a" * 64, 1000, "b" * 64, b"recipe"),
        "recipe": RECIPE,
        "cached": False,
        "timings": Timings(0.0011119, 0.5, 0.0, 0.6),
        "confidence": None,
        "warnings": (),
        "probe": None,
        "channel": None,
        "bundle": None,
    }
    generated = GeneratedLora(**(values | changes))  # type: ignore[arg-type]
    return GenerateLoraAnswer.of(generated).model_dump()


def test_numbers_are_rounded_for_reading() -> None:
    answer = _answer(confidence=Confidence(0.123456, is_familiar=True))
    assert answer["gates"] == [[[0.3333, 0.3333]]]
    assert answer["confidence"] == 0.1235
    assert answer["timings"] == {"queue_ms": 1.112, "generate_ms": 500.0, "assemble_ms": 0.0, "total_ms": 600.0}


def test_parts_that_were_not_asked_for_are_absent() -> None:
    answer = _answer()
    assert answer["confidence"] is None
    assert "probe" not in answer
    assert answer["links"] == {
        "bundle": f"/bundles/{'a' * 64}",
        "recipe": f"/recipes/{'b' * 64}",
        "bank": "/generators/fake/bank",
    }


def test_warnings_probe_and_channel_are_included() -> None:
    comparison = ProbeComparison(ProbeScores(0.0, -8.00004), ProbeScores(1.0, -0.5))
    answer = _answer(warnings=(TaskWarning("low_confidence", "message"),), probe=comparison, channel="kitchen")
    assert answer["warnings"] == [{"code": "low_confidence", "message": "message"}]
    assert answer["probe"] == {
        "base": {"exact_match": 0.0, "log_likelihood": -8.0},
        "specialized": {"exact_match": 1.0, "log_likelihood": -0.5},
    }
    assert answer["links"]["channel"] == "/channels/kitchen"  # type: ignore[index]
