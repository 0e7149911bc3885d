"""What one step trains on: episodes, the pieces of their descriptions, and rows for the edge model.

A step's draw depends on the seed and the step's number alone, so a resumed run draws what the first would have drawn.
"""

import random
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from training.data.episodes import Episode, Family
from training.memory.answers import Row, make_row
from training.memory.pieces import Piece, split_description
from training.memory.settings import MemorySettings

MOST_TRIES = 1000


@dataclass(frozen=True, slots=True)
class StepDraw:
    """Episodes of a step, the pieces of each, all rows, and the number of the episode of each row."""

    episodes: tuple[Episode, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    rows: tuple[Row, ...]
    owners: tuple[int, ...]


def draw_step(source: Family, tokenizer: PreTrainedTokenizerBase, settings: MemorySettings, step: int) -> StepDraw:
    """The draw of a step.

    Raises:
        ValueError: No episode has a row that is short enough.
    """
    rng = random.Random(f"memory/{settings.seed}/{step}")
    episodes: list[Episode] = []
    pieces: list[tuple[Piece, ...]] = []
    rows: list[Row] = []
    owners: list[int] = []
    for _ in range(MOST_TRIES):
        if len(episodes) == settings.tasks:
            return StepDraw(tuple(episodes), tuple(pieces), tuple(rows), tuple(owners))
        episode = source.draw(rng, "train", settings.inputs)
        drawn = []
        for instance in episode.instances:
            plain = rng.random() < settings.plain_share
            # An answer outside of the set, such as `none`, is an open answer.
            labels = episode.labels if instance.output in episode.labels else ()
            row = make_row(tokenizer, instance.input, instance.output, labels, plain)
            if len(row.ids) <= settings.longest_row:
                drawn.append(row)
        split = split_description(
            episode.task,
            episode.labels if not episode.task.tools and rng.random() < settings.labels_share else (),
        )
        if not drawn or not split:
            continue
        rows += drawn
        owners += [len(episodes)] * len(drawn)
        episodes.append(episode)
        pieces.append(split)
    raise ValueError(f"{MOST_TRIES} episodes gave {len(episodes)} with rows of at most {settings.longest_row} tokens")
