"""What the memory learns from."""

import random
from pathlib import Path

from training.data.families import Sources
from training.memory.mixture import load_memory_mixture


def test_every_family_can_be_drawn(data: Path) -> None:
    mixture = load_memory_mixture(Sources(data))
    for family in mixture.families:
        assert family.draw(random.Random(1), "train", 2).instances
