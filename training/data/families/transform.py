"""Family: transformations of one short text. Every function fits every text; only the description says which to apply.

The functions are this project's own; the texts are utterances, reviews and word lists of the other families.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.templates import Templates, checked, load_templates, maybe

VAGUE_SHARE = 0.3


@checked
@dataclass(frozen=True, slots=True)
class TransformTemplates:
    """What `transform.toml` holds; `asks` by transformation, `vague` for tasks whose examples say what to do."""

    formats: Templates
    vague: Templates
    asks: dict[str, Templates]


@dataclass(frozen=True, slots=True)
class Transformation:
    """A function of a text.

    Attributes:
        asks: Ways to ask for it in training.
        withheld: One more, which training never draws.
    """

    name: str
    apply: Callable[[str], str]
    asks: tuple[str, ...]
    withheld: str


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), TransformTemplates)
_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "upper": str.upper,
    "lower": str.lower,
    "title": lambda t: " ".join(w.capitalize() for w in t.split()),
    "first_word": lambda t: t.split()[0],
    "last_word": lambda t: t.split()[-1],
    "second_word": lambda t: t.split()[1],
    "first_two_words": lambda t: " ".join(t.split()[:2]),
    "first_letter": lambda t: t[0],
    "reverse_words": lambda t: " ".join(reversed(t.split())),
    "initials": lambda t: "".join(w[0] for w in t.split()).upper(),
    "hyphens": lambda t: "-".join(t.split()),
    "snake": lambda t: "_".join(t.lower().split()),
    "quote": lambda t: f'"{t}"',
    "repeat": lambda t: t,
    "drop_last": lambda t: " ".join(t.split()[:-1]),
    "drop_first": lambda t: " ".join(t.split()[1:]),
    "commas": lambda t: ", ".join(t.split()),
    "count": lambda t: str(len(t.split())),
    "exclaim": lambda t: t.rstrip(".?!") + "!",
    "please": lambda t: "please " + t,
}
TRANSFORMATIONS = tuple(
    Transformation(name, function, TEMPLATES.asks[name][:-1], TEMPLATES.asks[name][-1])
    for name, function in _FUNCTIONS.items()
)


class TextTransformation:
    """Draws a function and texts of two to nine words."""

    name = "transform"

    def __init__(self, texts: dict[Split, list[str]]) -> None:
        self._texts = texts

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one function; validation and test ask in words that training never saw."""
        function = rng.choice(TRANSFORMATIONS)
        texts = [self._text(rng, split) for _ in range(inputs + 4)]
        instances = [Instance(text, function.apply(text)) for text in texts]
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = rng.choice(function.asks) if split == "train" else function.withheld
        task = describe_function(rng, asked, examples, TEMPLATES.formats, split)
        return Episode(f"transform/{function.name}", task, tuple(instances[taken : taken + inputs]))

    def _text(self, rng: random.Random, split: Split) -> str:
        words = rng.choice(self._texts[split]).split()
        count = rng.randint(2, 9)
        if len(words) < 2:
            return self._text(rng, split)
        start = rng.randint(0, max(0, len(words) - count))
        return " ".join(words[start : start + count])


def describe_function(
    rng: random.Random, asked: str, examples: Sequence[Instance], formats: Templates, split: Split
) -> TaskDescription:
    """The task of a function: now and then by its examples alone, now and then with an output format.

    In training the description of some with two examples and more says nothing, and the examples say all.
    """
    if split == "train" and len({*examples}) > 1 and rng.random() < VAGUE_SHARE:
        asked = rng.choice(TEMPLATES.vague)
    elif rng.random() >= 0.95 and examples:
        asked = ""
    return TaskDescription(
        description=asked,
        examples=tuple(Example(e.input, e.output) for e in examples),
        output_format=maybe(rng, 0.2, formats),
    )
