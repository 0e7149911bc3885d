"""Descriptions that describe nothing."""

import random

from training.data.gibberish import gibberish


def test_gibberish_has_the_length_of_what_it_replaces() -> None:
    for length in (1, 40, 400):
        text = gibberish(random.Random(0), length).description
        assert length <= len(text) + 1 <= length + 12
    assert gibberish(random.Random(0), 50) == gibberish(random.Random(0), 50) != gibberish(random.Random(1), 50)
