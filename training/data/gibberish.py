"""Descriptions that describe nothing, as controls: an adapter that works under them does not follow its description."""

import random
import string

from cloud_service.task import TaskDescription


def gibberish(rng: random.Random, characters: int) -> TaskDescription:
    """Random letters in words of two to nine, of about the given length."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) < characters:
        words.append("".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))))
    return TaskDescription(" ".join(words))
