"""Scores of one generator on drawn episodes, with its controls on the same inputs, all un-merged and in one process.

Quick enough to choose settings on validation episodes. The numbers of the product, merged and quantized, come from the services themselves.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from cloud_service.generator import LoraGenerator
from cloud_service.generator.reader import encode_prompts, pad_right
from cloud_service.task import TaskDescription, render_prompt
from training.corpus import Split
from training.episodes import Episode, Family
from training.generator import EdgeAnswers, exact_matches
from training.gibberish import gibberish

COLUMNS = ("base", "prompted", "right", "another", "gibberish")


@dataclass(frozen=True, slots=True)
class Scores:
    """Exact match in [0, 1] by column, over all inputs of a family."""

    family: str
    inputs: int
    exact: dict[str, float]


def draw_episodes(family: Family, split: Split, count: int, inputs: int, seed: int = 0) -> list[Episode]:
    """The same episodes in every call."""
    rng = random.Random(f"measure/{family.name}/{split}/{seed}")
    return [family.draw(rng, split, inputs) for _ in range(count)]


def score_episodes(
    name: str, episodes: Sequence[Episode], generator: LoraGenerator, tokenizer: PreTrainedTokenizerBase, edge: EdgeAnswers
) -> Scores:
    """Scores every column on the same inputs.

    Args:
        name: For the table.
        episodes: At least two; *another* is the description of the next episode.
        generator: In evaluation mode.
        tokenizer: The cloud model's.
        edge: The edge model; its turns must be long enough for the prompts.
    """
    hits: dict[str, list[bool]] = defaultdict(list)
    rng = random.Random(f"controls/{name}")
    for index, episode in enumerate(episodes):
        prompt = render_prompt(episode.task)
        other = episodes[(index + 1) % len(episodes)].task
        described: dict[str, TaskDescription] = {
            "right": episode.task,
            "another": other,
            "gibberish": gibberish(rng, len(prompt)),
        }
        plain = edge.turns.batch(episode.instances, [None] * len(episode.instances))
        prompted = edge.turns.batch(episode.instances, [prompt] * len(episode.instances))
        with torch.inference_mode():
            hits["base"] += exact_matches(edge.logits(plain, None), plain).tolist()
            hits["prompted"] += exact_matches(edge.logits(prompted, None), prompted).tolist()
            for column, task in described.items():
                ids, lengths = pad_right(encode_prompts(tokenizer, [render_prompt(task)]))
                factors = generator.bank(generator(ids, lengths))
                hits[column] += exact_matches(edge.logits(plain, factors), plain).tolist()
    return Scores(name, len(hits["base"]), {column: sum(hits[column]) / len(hits[column]) for column in COLUMNS})
