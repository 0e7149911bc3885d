"""Draws of a step."""

from dataclasses import replace

import pytest

from tests.training.memory.small import SETTINGS, Routing, small_models
from training.memory.draws import draw_step


def test_a_step_draws_the_same_again() -> None:
    words = small_models().edge_tokenizer
    first, again, other = (draw_step(Routing(), words, SETTINGS, step) for step in (4, 4, 5))
    assert first == again
    assert first != other
    assert len(first.episodes) == SETTINGS.tasks
    assert len(first.rows) == len(first.owners)


def test_rows_that_are_all_too_long_are_an_error() -> None:
    with pytest.raises(ValueError, match="at most 2 tokens"):
        draw_step(Routing(), small_models().edge_tokenizer, replace(SETTINGS, longest_row=2), 0)
