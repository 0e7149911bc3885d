"""Mixtures, and few-shot examples."""

import random

import pytest

from training.data.corpus import SPLITS, Split
from training.data.episodes import Episode, Instance, Mixture, choose_examples
from training.data.gibberish import gibberish


def test_mixture_draws_by_weight() -> None:
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
            return Episode(self.name, gibberish(rng, 3), ())

    mixture = Mixture("both", (Named("a"), Named("b"), Named("c")), (3, 1, 0))
    rng = random.Random(0)
    names = [mixture.draw(rng, "train", 1).name for _ in range(800)]
    assert names.count("a") / len(names) == pytest.approx(0.75, abs=0.05)
    assert "c" not in names


@pytest.mark.parametrize("split", SPLITS)
def test_examples_are_one_to_four_in_half_of_the_draws_of_training_and_a_third_of_others(split: Split) -> None:
    instances = [Instance(str(n), "x") for n in range(12)]
    counts = [choose_examples(random.Random(n), instances, 8, split)[1] for n in range(900)]
    assert set(counts) == {0, 1, 2, 3, 4}
    assert counts.count(0) / len(counts) == pytest.approx(1 / 2 if split == "train" else 2 / 3, abs=0.05)


def test_inputs_asked_for_come_before_examples() -> None:
    """With no instance to spare, none becomes an example."""
    instances = [Instance(str(n), "x") for n in range(3)]
    assert {choose_examples(random.Random(n), instances, 3, "train") for n in range(20)} == {((), 0)}


@pytest.mark.parametrize("split", SPLITS)
def test_no_example_has_an_input_that_is_asked(split: Split) -> None:
    """Its answer could be copied."""
    instances = [Instance(str(n % 2), "x") for n in range(7)]
    for n in range(90):
        examples, count = choose_examples(random.Random(n), instances, 3, split)
        asked = {each.input for each in instances[count : count + 3]}
        assert asked.isdisjoint(example.input for example in examples)
