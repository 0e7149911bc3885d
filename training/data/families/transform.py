"""Family: transformations of one short text. Every function applies to every text; only the description tells which.

The functions are this project's own; the texts are utterances, reviews and word lists of the other families.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import wording
from training.data.families.transform_wording import WORDINGS


@dataclass(frozen=True, slots=True)
class Transformation:
    """A function of a text, with ways to ask for it; the last wording is kept from training."""

    name: str
    apply: Callable[[str], str]
    wordings: tuple[str, ...]


def _words(text: str) -> list[str]:
    return text.split()


TRANSFORMATIONS = (
    Transformation("upper", str.upper, WORDINGS["upper"]),
    Transformation("lower", str.lower, WORDINGS["lower"]),
    Transformation("title", lambda t: " ".join(w.capitalize() for w in _words(t)), WORDINGS["title"]),
    Transformation("first_word", lambda t: _words(t)[0], WORDINGS["first_word"]),
    Transformation("last_word", lambda t: _words(t)[-1], WORDINGS["last_word"]),
    Transformation("second_word", lambda t: _words(t)[1], WORDINGS["second_word"]),
    Transformation("first_two_words", lambda t: " ".join(_words(t)[:2]), WORDINGS["first_two_words"]),
    Transformation("first_letter", lambda t: t[0], WORDINGS["first_letter"]),
    Transformation("reverse_words", lambda t: " ".join(reversed(_words(t))), WORDINGS["reverse_words"]),
    Transformation("initials", lambda t: "".join(w[0] for w in _words(t)).upper(), WORDINGS["initials"]),
    Transformation("hyphens", lambda t: "-".join(_words(t)), WORDINGS["hyphens"]),
    Transformation("snake", lambda t: "_".join(_words(t.lower())), WORDINGS["snake"]),
    Transformation("quote", lambda t: f'"{t}"', WORDINGS["quote"]),
    Transformation("repeat", lambda t: t, WORDINGS["repeat"]),
    Transformation("drop_last", lambda t: " ".join(_words(t)[:-1]), WORDINGS["drop_last"]),
    Transformation("drop_first", lambda t: " ".join(_words(t)[1:]), WORDINGS["drop_first"]),
    Transformation("commas", lambda t: ", ".join(_words(t)), WORDINGS["commas"]),
    Transformation("count", lambda t: str(len(_words(t))), WORDINGS["count"]),
    Transformation("exclaim", lambda t: t.rstrip(".?!") + "!", WORDINGS["exclaim"]),
    Transformation("please", lambda t: "please " + t, WORDINGS["please"]),
)


class TextTransformation:
    """Draws a function and texts of two to nine words."""

    name = "transform"

    def __init__(self, texts: dict[Split, list[str]]) -> None:
        self._texts = texts

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one function; validation and test use the wording that training never saw."""
        function = rng.choice(TRANSFORMATIONS)
        texts = [self._text(rng, split) for _ in range(inputs + 4)]
        instances = [Instance(text, function.apply(text)) for text in texts]
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = rng.choice(function.wordings[:-1]) if split == "train" else function.wordings[-1]
        task = TaskDescription(
            description=asked if rng.random() < 0.95 or not examples else "",
            examples=tuple(Example(e.input, e.output) for e in examples),
            output_format=wording.maybe(rng, 0.2, wording.TRANSFORM_FORMAT),
        )
        return Episode(f"transform/{function.name}", task, tuple(instances[taken : taken + inputs]))

    def _text(self, rng: random.Random, split: Split) -> str:
        words = rng.choice(self._texts[split]).split()
        count = rng.randint(2, 9)
        if len(words) < 2:
            return self._text(rng, split)
        start = rng.randint(0, max(0, len(words) - count))
        return " ".join(words[start : start + count])
