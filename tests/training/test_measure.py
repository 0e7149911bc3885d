"""Scores: intervals, pairing, and controls on the same inputs."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from cloud_service.generator import LoraGenerator
from cloud_service.generator.edge import edge_shape
from cloud_service.task import TaskDescription
from tests.training.models import tiny_config, tiny_model
from training.episodes import Episode, Instance, Mixture
from training.generator import EdgeAnswers, exact_matches
from training.measure import COLUMNS, Scores, draw_episodes, score_episodes


def scores(**exact: list[float]) -> Scores:
    return Scores(("a",) * 4, 40, {name: np.array(values) for name, values in exact.items()}, {})


def test_interval_holds_the_mean_and_narrows_where_episodes_agree() -> None:
    interval = scores(right=[0.0, 1.0, 0.0, 1.0]).interval("right")
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.0, 1.0)
    even = scores(right=[0.75] * 4).interval("right")
    assert (even.mean, even.low, even.high) == (0.75, 0.75, 0.75)


def test_difference_is_paired_by_episode() -> None:
    """Episodes differ far more than columns do; the difference of each is the same, and so certain."""
    made = scores(right=[0.2, 0.9, 0.4, 0.6], base=[0.1, 0.8, 0.3, 0.5])
    interval = made.interval("right", minus="base")
    assert interval.mean == pytest.approx(0.1)
    assert interval.high - interval.low < 1e-9


def test_episodes_are_the_same_in_every_call(mixture: Mixture) -> None:
    first = draw_episodes(mixture, "test", 4, 3)
    assert draw_episodes(mixture, "test", 4, 3) == first
    assert draw_episodes(mixture, "validation", 4, 3) != first
    assert draw_episodes(mixture, "test", 4, 3, seed=1) != first


def test_columns_are_scored_on_the_same_inputs_under_their_own_descriptions(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """The base column ignores the description; an answer that the base model gives itself counts there."""
    model = tiny_model(tokenizer, 2)
    edge = EdgeAnswers(model, tokenizer, longest=200, dtype=torch.float32)
    cloud = tiny_model(tokenizer, 1)
    generator = LoraGenerator(tiny_config(norm="none"), cloud, edge_shape(model.config)).eval()
    episodes = [
        Episode("one", TaskDescription("Do one."), (Instance("hi", "a"), Instance("you", "b"))),
        Episode("two", TaskDescription("Do two."), (Instance("there", "c"), Instance("me", "d"))),
    ]
    result = score_episodes(episodes, generator, tokenizer, edge)
    assert result.tasks == ("one", "two")
    assert result.instances == 4
    assert tuple(sorted(result.exact)) == tuple(sorted(COLUMNS))
    # B of every expert is still zero: no adapter changes anything, whatever was described.
    for column in ("right", "another", "gibberish"):
        assert np.array_equal(result.exact[column], result.exact["base"])
    batch = edge.turns.batch(episodes[0].instances, [None] * 2)
    with torch.inference_mode():
        expected = exact_matches(edge.logits(batch, None), batch).float().mean().item()
    assert result.exact["base"][0] == expected
    question = len(edge.turns.question("hi")) + len(edge.turns.question("you"))
    question += len(edge.turns.question("there")) + len(edge.turns.question("me"))
    assert result.tokens["specialized"] == question / 4
