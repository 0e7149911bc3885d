"""Transformations of short texts."""

import random

import pytest

from training.data.corpus import SPLITS, Split
from training.data.episodes import Instance
from training.data.families.transform import (
    TEMPLATES,
    TRANSFORMATIONS,
    VAGUE_SHARE,
    TextTransformation,
    describe_function,
)


def test_transformed_texts_are_parts_of_texts_of_their_split() -> None:
    texts: dict[Split, list[str]] = {split: [f"{split[:2]}{n} b{n} c{n} d{n}" for n in range(5)] for split in SPLITS}
    family = TextTransformation(texts | {"train": [*texts["train"], "single"]})
    for split in SPLITS:
        for number in range(60):
            for instance in family.draw(random.Random(number), split, 3).instances:
                assert len(instance.input.split()) >= 2
                assert any(instance.input in text for text in texts[split])


def test_what_validation_asks_is_never_met_in_training() -> None:
    texts: dict[Split, list[str]] = {split: ["one two three"] for split in SPLITS}
    family = TextTransformation(texts)
    asked = {
        split: {family.draw(random.Random(n), split, 2).task.description for n in range(300)} - {""} for split in SPLITS
    }
    assert asked["validation"] == asked["test"] == {t.withheld for t in TRANSFORMATIONS}
    assert asked["train"] - set(TEMPLATES.vague) <= {ask for t in TRANSFORMATIONS for ask in t.asks}


def test_training_alone_has_tasks_that_only_their_examples_tell() -> None:
    """And then there are two of them at least."""
    examples = [Instance(f"a{n}", "b") for n in range(3)]
    drawn = {
        (split, count): [
            describe_function(random.Random(n), "Shout.", examples[:count], ("text",), split).description
            for n in range(300)
        ]
        for split in SPLITS
        for count in (0, 1, 2, 3)
    }
    for (split, count), descriptions in drawn.items():
        vague = [each for each in descriptions if each in TEMPLATES.vague]
        assert len(vague) / 300 == pytest.approx(VAGUE_SHARE if split == "train" and count > 1 else 0, abs=0.08)
        assert set(descriptions) <= {"Shout.", *TEMPLATES.vague, *([""] if count else [])}


def test_transformations_do_what_they_are_called() -> None:
    results = {t.name: t.apply("wake Me at seven.") for t in TRANSFORMATIONS}
    assert results == {
        "upper": "WAKE ME AT SEVEN.",
        "lower": "wake me at seven.",
        "title": "Wake Me At Seven.",
        "first_word": "wake",
        "last_word": "seven.",
        "second_word": "Me",
        "first_two_words": "wake Me",
        "first_letter": "w",
        "reverse_words": "seven. at Me wake",
        "initials": "WMAS",
        "hyphens": "wake-Me-at-seven.",
        "snake": "wake_me_at_seven.",
        "quote": '"wake Me at seven."',
        "repeat": "wake Me at seven.",
        "drop_last": "wake Me at",
        "drop_first": "Me at seven.",
        "commas": "wake, Me, at, seven.",
        "count": "4",
        "exclaim": "wake Me at seven!",
        "please": "please wake Me at seven.",
    }
