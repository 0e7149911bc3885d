"""Values: names for tools and labels, restyled or made up, so that a name is a property of the description.

A model that always meets a tool under one name learns to say that name at a request, and no longer reads the list. The
styles of the suite `tools-renamed` are not drawn here.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.templates import Templates, checked, load_templates

IDENTIFIER_SPELLINGS: tuple[Callable[[Sequence[str]], str], ...] = (
    "_".join,
    lambda words: words[0] + "".join(word.capitalize() for word in words[1:]),
    lambda words: "".join(word.capitalize() for word in words),
    lambda words: "_".join(word.capitalize() for word in words),
    "-".join,
)
"""How functions and keys of JSON are spelled."""

_SPELLINGS: tuple[Callable[[Sequence[str]], str], ...] = (
    *IDENTIFIER_SPELLINGS,
    ".".join,
    "".join,
    lambda words: "_".join(words).upper(),
    " ".join,
)
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "cl", "dr", "fl", "gr", "kr", "pl", "sh", "sk", "st", "th", "tr")
_VOWELS = (*"aeiouaeiou", "ai", "ee", "oo")
_CODES = ("t{}", "op-{}", "a{}", "T_{}", "x{}", "#{}", "{}", "id{}", "K{}")
_SHORT_WORDS = 4


@checked
@dataclass(frozen=True, slots=True)
class NameParts:
    """What `renaming.toml` holds: beginnings and ends of tool names, and words that labels may be."""

    first: Templates
    last: Templates
    label_words: Templates


PARTS = load_templates(Path(__file__).with_suffix(".toml"), NameParts)


def invent(rng: random.Random) -> str:
    """A made-up word of two or three syllables."""
    syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 3)))
    return "".join(syllables) + rng.choice(("", "", "n", "r", "s", "x"))


def rename_tools(rng: random.Random, known: Sequence[tuple[str, str]]) -> list[str]:
    """New names for tools of one set, all in one style and all different.

    Args:
        rng: Random state.
        known: Name in words ("play music") and description of each tool.
    """
    source = rng.choices(("name", "description", "invented", "code"), (0.5, 0.2, 0.2, 0.1))[0]
    spell = rng.choice(_SPELLINGS)
    first = [rng.choice(PARTS.first)] if rng.random() < 0.2 else []
    last = [rng.choice(PARTS.last)] if rng.random() < 0.2 else []
    code = rng.choice(_CODES)
    names: dict[str, None] = {}
    for name, description in known:
        if source == "code":
            new = code.format(rng.randrange(100))
        else:
            words = re.findall(r"[a-z0-9]+", name.lower())[:3] or ["tool"]
            if source == "invented":
                words = [invent(rng) for _ in range(rng.randint(1, 2))]
            elif source == "description":
                telling = [w for w in re.findall(r"[a-z]+", description.lower()) if len(w) > _SHORT_WORDS]
                words = telling[: rng.randint(1, 2)] or words
            new = spell([*first, *words, *last])
        while new in names:
            new += str(rng.randrange(10))
        names[new] = None
    return list(names)


def relabel(rng: random.Random, count: int) -> list[str]:
    """Different labels that say nothing of what they stand for: letters, numbers, common words or made-up ones."""
    kind = rng.choice(("letters", "numbers", "words", "words", "invented"))
    if kind == "letters":
        return rng.sample("ABCDEFGH"[:count], count)
    if kind == "numbers":
        return rng.sample([str(number) for number in range(1, count + 1)], count)
    labels: dict[str, None] = {}
    while len(labels) < count:
        labels[rng.choice(PARTS.label_words) if kind == "words" else invent(rng)] = None
    return list(labels)


def respell(rng: random.Random, labels: Sequence[str]) -> list[str]:
    """The same labels in other letters or with underscores; as they are where two would become one."""
    spell: Callable[[str], str] = rng.choice(
        (str.upper, str.lower, str.capitalize, lambda label: label.lower().replace(" ", "_"))
    )
    spelled = [spell(label) for label in labels]
    return spelled if len(set(spelled)) == len(labels) else list(labels)
