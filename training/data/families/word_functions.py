"""Values: deterministic functions of a short text, by name, for the family `text_functions`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.data.templates import Templates, checked, load_templates


@checked
@dataclass(frozen=True, slots=True)
class WordTemplates:
    """What `word_functions.toml` holds; `asks` by function, the last of each withheld from training."""

    asks: dict[str, Templates]


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), WordTemplates)
WORD_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "no_vowels": lambda t: re.sub("[aeiouAEIOU]", "", t),
    "vowels_only": lambda t: "".join(re.findall("[aeiouAEIOU]", t)),
    "vowel_count": lambda t: str(len(re.findall("[aeiouAEIOU]", t))),
    "letter_count": lambda t: str(sum(letter.isalpha() for letter in t)),
    "last_letters": lambda t: "".join(word[-1] for word in words(t)),
    "longest_word": lambda t: max(words(t), key=len, default=""),
    "shortest_word": lambda t: min(words(t), key=len, default=""),
    "third_word": lambda t: t.split()[2] if len(t.split()) > 2 else "",
    "sorted_words": lambda t: " ".join(sorted(t.split(), key=lambda word: (word.lower(), word))),
    "swapped_ends": lambda t: " ".join([t.split()[-1], *t.split()[1:-1], t.split()[0]]),
    "first_and_last": lambda t: f"{t.split()[0]} {t.split()[-1]}",
    "doubled_words": lambda t: " ".join(f"{word} {word}" for word in t.split()),
    "twice": lambda t: f"{t} {t}",
    "every_other": lambda t: " ".join(t.split()[::2]),
    "spelled_out": lambda t: "-".join(t.split()[0]),
    "no_spaces": lambda t: "".join(t.split()),
    "camel": lambda t: "".join(word.lower() if n == 0 else word.capitalize() for n, word in enumerate(words(t))),
    "starred": lambda t: "*".join(t.split()),
    "slashes": lambda t: " / ".join(t.split()),
    "no_punctuation": lambda t: re.sub(r"[^\w\s]", "", t),
    "sentence_case": lambda t: t[:1].upper() + t[1:].lower(),
    "dotted_acronym": lambda t: "".join(f"{word[0].upper()}." for word in words(t)),
    "square_brackets": lambda t: f"[{t}]",
    "parentheses": lambda t: f"({t})",
    "bold_tags": lambda t: f"<b>{t}</b>",
    "note_prefix": lambda t: f"Note: {t}",
    "done_suffix": lambda t: f"{t} - done",
    "thanks_suffix": lambda t: f"{t}, thank you",
    "json_text": lambda t: '{"text": "' + t.replace("\\", "\\\\").replace('"', '\\"') + '"}',
    "numbered": lambda t: " ".join(f"{n}.{word}" for n, word in enumerate(t.split(), 1)),
}


def words(text: str) -> list[str]:
    """Words without punctuation around them."""
    return re.findall(r"\w+(?:'\w+)*", text)


def plural(noun: str) -> str:
    """The regular plural: `city` gives `cities`, `box` gives `boxes`."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
