"""Descriptions that describe nothing, as controls: an adapter that works under them does not follow its description."""

import random
import string

from cloud_service.task import TaskDescription


def gibberish(rng: random.Random, characters: int) -> TaskDescription:
    """A description of random letters, of about the given length."""
    return TaskDescription(gibberish_text(rng, characters))


def gibberish_text(rng: random.Random, characters: int) -> str:
    """Random letters in words of two to nine."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append("".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))))
    return " ".join(words)
