"""Values made up and put into a text, of which one kind is asked for: addresses, prices, numbers and the like."""

import random
from collections.abc import Callable, Sequence

_NAMES = ("anna", "li", "omar", "j.smith", "info", "kate", "support", "ivo", "m.rossi", "hello", "team", "yuki")
_SITES = ("example", "acme", "greenfield", "northwind", "bluebird", "papershop", "citylib", "oldmill", "tinyhost")
_ENDS = ("com", "org", "net", "io", "de", "co.uk")
_PATHS = ("", "", "/help", "/news/today", "/a?id=7", "/docs", "/cart")
_TAGS = ("sunny", "travel", "NoFilter", "monday", "food", "launch2024", "cats", "running", "win", "DIY", "music")


def _email(rng: random.Random) -> str:
    return f"{rng.choice(_NAMES)}{rng.choice(('', '', rng.randrange(100)))}@{rng.choice(_SITES)}.{rng.choice(_ENDS)}"


def _url(rng: random.Random) -> str:
    start = rng.choice(("https://", "http://", "https://www.", "www."))
    return f"{start}{rng.choice(_SITES)}.{rng.choice(_ENDS)}{rng.choice(_PATHS)}"


def _phone(rng: random.Random) -> str:
    pattern = rng.choice(("555-####", "(###) 555-####", "+1 ### 555 ####", "0## ### ####", "+44 ## #### ####"))
    return "".join(str(rng.randint(1, 9)) if sign == "#" else sign for sign in pattern)


def _price(rng: random.Random) -> str:
    amount = f"{rng.randrange(1, 900)}" + rng.choice(("", ".50", ".99", ".25"))
    return rng.choice(("${}", "€{}", "£{}", "{} dollars", "{} euros", "{} EUR")).format(amount)


def _number(rng: random.Random) -> str:
    return str(rng.randrange(2, 10 ** rng.randint(1, 4) + 2))


def _hashtag(rng: random.Random) -> str:
    return f"#{rng.choice(_TAGS)}"


_KINDS: dict[str, Callable[[random.Random], str]] = {
    "email": _email,
    "url": _url,
    "phone": _phone,
    "price": _price,
    "number": _number,
    "hashtag": _hashtag,
}


def made_value(rng: random.Random, kind: str) -> str:
    """A value of a kind: `email`, `url`, `phone`, `price`, `number` or `hashtag`."""
    return _KINDS[kind](rng)


def insert_values(rng: random.Random, text: str, wanted: str) -> tuple[str, str]:
    """A text with a value of the wanted kind, and now and then one or two of others.

    Args:
        rng: Random state.
        text: Carries the values; its own words with digits or signs of a value are left out.
        wanted: `email`, `url`, `phone`, `price`, `number` or `hashtag`.

    Returns:
        The text and the wanted value. A text that is asked for its number holds no other value with digits.
    """
    words = [word for word in text.split() if not any(sign.isdigit() or sign in "@#$€£/" for sign in word)]
    others = [kind for kind in _KINDS if kind != wanted and "number" not in (wanted, kind)]
    kinds = [wanted, *rng.sample(others, min(len(others), rng.choice((0, 0, 1, 2))))]
    values = [_KINDS[kind](rng) for kind in kinds]
    for value in values:
        words.insert(_gap(rng, words, values), value)
    return " ".join(words), values[0]


def _gap(rng: random.Random, words: Sequence[str], values: Sequence[str]) -> int:
    """A place between two words, or at an end, where no other value stands, so that two do not run together."""
    free = [n for n in range(len(words) + 1) if not {*words[max(0, n - 1) : n + 1]} & set(values)]
    return rng.choice(free or [len(words)])
