"""Family: the length of a text in three classes, whose bounds and names only the description says.

The texts are beginnings of utterances of the other families.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.templates import Templates, checked, fill, load_templates, placeholders

BOUNDS = ((3, 6), (4, 8), (5, 10), (6, 9), (6, 12), (3, 9))
MOST_WORDS = 18


@checked
@dataclass(frozen=True, slots=True)
class LengthTemplates:
    """What `length_classes.toml` holds; `classes` names them from short to long."""

    asks: Annotated[Templates, placeholders("short", "middle", "long", "low", "high")]
    classes: tuple[tuple[str, str, str], ...]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), LengthTemplates)


class LengthClasses:
    """Draws two bounds and names for the three classes between them."""

    name = "length_classes"

    def __init__(self, texts: dict[Split, list[str]]) -> None:
        self._texts = texts

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode on texts of up to 18 words."""
        low, high = rng.choice(BOUNDS)
        names = rng.choice(TEMPLATES.classes)
        instances = []
        for _ in range(inputs + 4):
            words = rng.choice(self._texts[split]).split()[: rng.randint(2, MOST_WORDS)]
            instances.append(Instance(" ".join(words), names[(len(words) > low) + (len(words) > high)]))
        examples, taken = choose_examples(rng, instances, inputs, split)
        short, middle, long = names
        bounds = {"low": str(low), "high": str(high)}
        description = fill(rng, TEMPLATES.asks, short=short, middle=middle, long=long, **bounds)
        task = TaskDescription(description, tuple(Example(e.input, e.output) for e in examples))
        return Episode(self.name, task, tuple(instances[taken : taken + inputs]), names)
