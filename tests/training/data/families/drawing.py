"""Helpers: episodes of one family out of a mixture, and their inputs."""

import random

from training.data.corpus import Split
from training.data.episodes import Episode, Mixture


def draw(mixture: Mixture, family: str, split: Split, count: int, inputs: int = 4) -> list[Episode]:
    """Episodes of one family, each from its own random state."""
    chosen = next(f for f in mixture.families if f.name == family)
    return [chosen.draw(random.Random(f"{split}/{number}"), split, inputs) for number in range(count)]


def inputs_of(episodes: list[Episode]) -> set[str]:
    """Every input, asked or shown as an example."""
    asked = {instance.input for episode in episodes for instance in episode.instances}
    return asked | {example.input for episode in episodes for example in episode.task.examples}
