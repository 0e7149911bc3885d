"""Values between the service and a generator."""

from pathlib import Path

import pytest

from cloud_service.generation import Confidence, cache_key
from cloud_service.task import Example, TaskDescription
from tests.cloud_service.fake_generator import FakeGenerator


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_confidence_outside_of_its_range_cannot_be_made(score: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        Confidence(score, is_familiar=True)


def test_what_was_found_moves_a_confidence_by_its_weight() -> None:
    before = Confidence(0.25, is_familiar=True, weight=2.0)
    assert before.after(gained=0, answered=0) == before
    assert before.after(gained=2, answered=2) == Confidence(0.625, is_familiar=True, weight=4.0)
    step_by_step = before.after(1, 1).after(0, 1)
    assert step_by_step.score == pytest.approx(before.after(1, 2).score)


def test_cache_key_follows_every_part_of_the_request_and_the_generator(tmp_path: Path) -> None:
    info = FakeGenerator(tmp_path).info
    other = FakeGenerator(tmp_path, generator_id="other").info
    tasks = [
        TaskDescription("sort"),
        TaskDescription("sort", output_format="one word"),
        TaskDescription("sort", examples=(Example("a", "b"),)),
        TaskDescription("sort", examples=(Example("ab", ""),)),
    ]
    keys = [cache_key(task, info) for task in tasks] + [cache_key(tasks[0], other)]
    assert len(set(keys)) == len(keys)
    assert cache_key(TaskDescription(" sort \n"), info) == keys[0]
