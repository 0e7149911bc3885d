"""Values between the service and a generator."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloud_service.generation import Asked, Confidence, cache_key, most_recipe_bytes
from cloud_service.task import Example, TaskDescription
from loragen.contract.recipe import encode_recipe
from tests.cloud_service.fake_generator import CHOOSE, FakeGenerator


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


@pytest.mark.parametrize(
    "description",
    ["Sort.", "Ordne die Briefe: „Größe“ \\ \x01", CHOOSE, "long " * 1_000],
    ids=["short", "escaped", "choices", "long"],
)
@pytest.mark.parametrize("kept_words", [0, 100])
def test_no_recipe_is_longer_than_foretold(tmp_path: Path, description: str, kept_words: int) -> None:
    generator = FakeGenerator(tmp_path)
    generator.residual_prompt_words = kept_words
    asked = Asked.of(TaskDescription(description))
    (made,) = generator.generate([asked])
    length = len(encode_recipe(made.recipe(generator.info, generator.bank.digest)))
    most = most_recipe_bytes(asked, generator.info, generator.bank)
    # The counts of tokens may have more digits, a residual prompt may be kept, and codes may be longer.
    slack = 16 + 6 * max((len(text[:2048]) for text in asked.residual_texts), default=0) + 2 * len(asked.choices)
    assert length <= most <= length + slack + 8


def test_length_of_a_recipe_is_foretold_where_no_head_answers(tmp_path: Path) -> None:
    generator = FakeGenerator(tmp_path)
    info, asked = replace(generator.info, most_choices=0), Asked.of(TaskDescription(CHOOSE))
    (made,) = generator.generate([asked])
    plain = replace(made, answer=asked.answer, keys=None)
    most = most_recipe_bytes(asked, info, generator.bank)
    assert len(encode_recipe(plain.recipe(info, generator.bank.digest))) <= most
    assert most < most_recipe_bytes(asked, generator.info, generator.bank)
