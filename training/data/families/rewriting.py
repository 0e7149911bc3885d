"""Family: texts rewritten by a rule with parameters (a word, a sign, a count), and texts with their spelling mended.

A rule's parameters are drawn, so there are many more descriptions than rules. The right answer is computed. The texts
are beginnings of utterances of the other families.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloud_service.task import Example, TaskDescription
from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.templates import Templates, checked, fill, load_templates

SPELLING_SHARE = 0.3
SHORTEST_MISSPELLED = 4


@checked
@dataclass(frozen=True, slots=True)
class RewritingTemplates:
    """What `rewriting.toml` holds; `rules` by rule, with the rule's parameters as placeholders."""

    spelling: Templates
    rules: dict[str, Templates]
    new_words: Templates
    signs: Templates
    ends: tuple[tuple[str, str], ...]
    contractions: dict[str, str]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), RewritingTemplates)


@dataclass(frozen=True, slots=True)
class RuleParameters:
    """What a rule may take: a word to look for, one to put there, a sign, a count, and a pair of ends."""

    old: str
    new: str
    sign: str
    count: int
    ends: tuple[str, str]


_RULES: dict[str, Callable[[str, RuleParameters], str]] = {
    "replace": lambda t, p: re.sub(rf"(?<!\w){re.escape(p.old)}(?!\w)", lambda _: p.new, t),
    "delete": lambda t, p: " ".join(word for word in t.split() if word != p.old),
    "append": lambda t, p: t + p.sign,
    "join": lambda t, p: p.sign.join(t.split()),
    "first_words": lambda t, p: " ".join(t.split()[: p.count]),
    "last_words": lambda t, p: " ".join(t.split()[-p.count :]),
    "word_number": lambda t, p: (t.split() + ["none"] * p.count)[p.count - 1],
    "enclose": lambda t, p: p.ends[0] + t + p.ends[1],
    "contractions": lambda t, _: " ".join(TEMPLATES.contractions.get(word.lower(), word) for word in t.split()),
    "prepend": lambda t, p: f"{p.new} {t}",
}


class Rewriting:
    """Draws a rule with its parameters, or misspellings, and texts of three to ten words."""

    name = "rewriting"

    def __init__(self, texts: dict[Split, list[str]]) -> None:
        self._texts = texts

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one rule; the answer is never empty."""
        texts = [self._text(rng, split) for _ in range(inputs + 4)]
        if rng.random() < SPELLING_SHARE:
            rule, description = "spelling", rng.choice(TEMPLATES.spelling)
            instances = [Instance(misspell(rng, text), text) for text in texts]
        else:
            rule = rng.choice(list(_RULES))
            parameters = _draw_parameters(rng, texts)
            description = fill(
                rng,
                TEMPLATES.rules[rule],
                old=parameters.old,
                new=parameters.new,
                sign=parameters.sign,
                count=str(parameters.count),
                start=parameters.ends[0],
                end=parameters.ends[1],
            )
            instances = [Instance(text, _RULES[rule](text, parameters) or text) for text in texts]
        examples, taken = choose_examples(rng, instances, inputs, split)
        task = TaskDescription(description, tuple(Example(e.input, e.output) for e in examples))
        return Episode(f"{self.name}/{rule}", task, tuple(instances[taken : taken + inputs]))

    def _text(self, rng: random.Random, split: Split) -> str:
        words = rng.choice(self._texts[split]).split()
        return " ".join(words[: rng.randint(3, 10)])


def misspell(rng: random.Random, text: str) -> str:
    """The text with one or two longer words misspelled: letters swapped, left out or doubled."""
    words = text.split()
    places = [n for n, word in enumerate(words) if len(word) >= SHORTEST_MISSPELLED]
    for n in rng.sample(places, min(len(places), rng.randint(1, 2))):
        word, at = words[n], rng.randrange(1, len(words[n]) - 1)
        swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        words[n] = rng.choice((swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]))
    return " ".join(words)


def _draw_parameters(rng: random.Random, texts: list[str]) -> RuleParameters:
    words = sorted(word for text in texts for word in text.split() if word.isalpha()) or ["the"]  # frequent ones often
    return RuleParameters(
        rng.choice(words),
        rng.choice(TEMPLATES.new_words),
        rng.choice(TEMPLATES.signs),
        rng.randint(2, 4),
        rng.choice(TEMPLATES.ends),
    )
