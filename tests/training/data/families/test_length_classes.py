"""Classes of length."""

import random

from training.data.corpus import SPLITS, Split
from training.data.families.length_classes import BOUNDS, TEMPLATES, LengthClasses


def test_class_is_that_of_the_number_of_words() -> None:
    texts: dict[Split, list[str]] = {split: [" ".join(["word"] * 20)] for split in SPLITS}
    for number in range(100):
        episode = LengthClasses(texts).draw(random.Random(number), "train", 6)
        short, middle, long = episode.labels
        fitting = [
            (low, high)
            for low, high in BOUNDS
            for ask in TEMPLATES.asks
            if ask.format(short=short, middle=middle, long=long, low=low, high=high) == episode.task.description
        ]
        ((low, high),) = set(fitting)
        for instance in episode.instances:
            count = len(instance.input.split())
            assert instance.output == (short if count <= low else middle if count <= high else long)
