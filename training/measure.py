"""Scores of one generator on drawn episodes, with its controls on the same inputs, un-merged and in one process.

Quick enough to choose settings on validation episodes. The numbers of the product, merged and quantized as served, come
from the demo, which goes through both services.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.reader import encode_prompts, pad_right
from cloud_service.task import TaskDescription, render_prompt
from training.corpus import Split
from training.episodes import Episode, Family
from training.generator import EdgeAnswers, exact_matches
from training.gibberish import gibberish

COLUMNS = ("base", "prompted", "right", "another", "gibberish")
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval; resampled are episodes, whose inputs share a description."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Exact match of every episode of a suite.

    Attributes:
        tasks: Names of the episodes' tasks.
        instances: Inputs in all.
        exact: By column, (episodes,) share of inputs answered exactly, in [0, 1].
        tokens: Mean input tokens of the edge model, by `prompted` and `specialized`.
    """

    tasks: tuple[str, ...]
    instances: int
    exact: Mapping[str, NDArray[np.float64]]
    tokens: Mapping[str, float]

    def interval(self, column: str, minus: str | None = None) -> Interval:
        """Mean of a column, or of its paired difference to another."""
        values = self.exact[column] - (self.exact[minus] if minus else 0.0)
        drawn = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
        low, high = np.quantile(values[drawn].mean(1), (0.025, 0.975))
        return Interval(float(values.mean()), float(low), float(high))


def draw_episodes(family: Family, split: Split, count: int, inputs: int, seed: int = 0) -> list[Episode]:
    """The same episodes in every call."""
    rng = random.Random(f"measure/{family.name}/{split}/{seed}")
    return [family.draw(rng, split, inputs) for _ in range(count)]


def score_episodes(
    episodes: Sequence[Episode], generator: LoraGenerator, tokenizer: PreTrainedTokenizerBase, edge: EdgeAnswers
) -> Scores:
    """Scores every column on the same inputs, by the answer that greedy decoding gives.

    Args:
        episodes: At least two; *another* is the description of a later episode of another task, where there is one.
        generator: In evaluation mode.
        tokenizer: The cloud model's.
        edge: The edge model; its turns must be long enough for the prompts.
    """
    exact: dict[str, list[float]] = {column: [] for column in COLUMNS}
    tokens: dict[str, list[int]] = {"prompted": [], "specialized": []}
    rng = random.Random("gibberish")
    with torch.inference_mode():
        for index, episode in enumerate(episodes):
            prompt = render_prompt(episode.task)
            count = len(episode.instances)
            plain = edge.turns.batch(episode.instances, [None] * count)
            prompted = edge.turns.batch(episode.instances, [prompt] * count)
            matches = {
                "base": exact_matches(edge.logits(plain, None), plain),
                "prompted": exact_matches(edge.logits(prompted, None), prompted),
            }
            described = {
                "right": episode.task,
                "another": _another(episodes, index),
                "gibberish": gibberish(rng, len(prompt)),
            }
            for column, task in described.items():
                gates = generator(*pad_right(encode_prompts(tokenizer, [render_prompt(task)])))
                matches[column] = exact_matches(edge.logits(plain, generator.bank(gates)), plain)
            for column, hits in matches.items():
                exact[column].append(hits.float().mean().item())
            for instance in episode.instances:
                tokens["prompted"].append(len(edge.turns.question(instance.input, prompt)))
                tokens["specialized"].append(len(edge.turns.question(instance.input)))
    return Scores(
        tuple(episode.name for episode in episodes),
        sum(len(episode.instances) for episode in episodes),
        {column: np.array(values) for column, values in exact.items()},
        {column: float(np.mean(values)) for column, values in tokens.items()},
    )


def _another(episodes: Sequence[Episode], index: int) -> TaskDescription:
    later = [*episodes[index + 1 :], *episodes[:index]]
    return next((e for e in later if e.name != episodes[index].name), later[0]).task
