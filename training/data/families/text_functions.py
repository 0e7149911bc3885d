"""Family: functions of a short text that only the description names. A second, larger set beside `transform`.

Some count, select or rewrite words; some find a value (an address, a price) in a text that may hold others; some look
a word up in a small table; some change one form into another. The functions and tables are this project's own. Texts
are parts of utterances of their split; values and words of tables are the same in every split.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.corpus import Split
from training.data.episodes import Episode, Instance, choose_examples
from training.data.families import word_functions
from training.data.families.text_values import insert_values
from training.data.families.transform import describe_function
from training.data.templates import Templates, checked, fill, load_templates

FEWEST_WORDS, MOST_WORDS = 2, 8


@checked
@dataclass(frozen=True, slots=True)
class FunctionTemplates:
    """What `text_functions.toml` holds.

    Attributes:
        formats: Of the answer.
        asks: By function, but those of `word_functions`; the last of each is withheld from training.
        lookups: Tables by function: pairs of what is looked up and what is found.
        nouns: Things in the singular, with a regular plural.
        names: Given names.
        facts: By property of a thing, such as its colour, the values that a text may state.
        fact_texts: Sentences that state a property of a thing.
    """

    formats: Templates
    asks: dict[str, Templates]
    lookups: dict[str, tuple[tuple[str, str], ...]]
    nouns: Templates
    names: Templates
    facts: dict[str, Templates]
    fact_texts: Templates


@dataclass(frozen=True, slots=True)
class TextFunction:
    """A function of a text.

    Attributes:
        make: An input made of a short text, and the answer.
        asks: Ways to ask for it in training.
        withheld: One more, which training never draws.
        labels: All answers possible when the set is closed.
    """

    name: str
    make: Callable[[random.Random, str], Instance]
    asks: tuple[str, ...]
    withheld: str
    labels: tuple[str, ...] = ()


TEMPLATES = load_templates(Path(__file__).with_suffix(".toml"), FunctionTemplates)


class TextFunctions:
    """Draws a function and texts of two to eight words."""

    name = "text_functions"

    def __init__(self, texts: dict[Split, list[str]]) -> None:
        self._texts = texts

    def draw(self, rng: random.Random, split: Split, inputs: int) -> Episode:
        """An episode for one function; validation and test ask in words that training never saw."""
        function = rng.choice(FUNCTIONS)
        instances: list[Instance] = []
        while len(instances) < inputs + 4:
            instance = function.make(rng, self._text(rng, split))
            if instance.output.strip():  # a text of vowels alone has nothing else
                instances.append(instance)
        examples, taken = choose_examples(rng, instances, inputs, split)
        asked = rng.choice(function.asks) if split == "train" else function.withheld
        task = describe_function(rng, asked, examples, TEMPLATES.formats, split)
        return Episode(f"{self.name}/{function.name}", task, tuple(instances[taken : taken + inputs]), function.labels)

    def _text(self, rng: random.Random, split: Split) -> str:
        words = rng.choice(self._texts[split]).split()
        while len(words) < FEWEST_WORDS:
            words = rng.choice(self._texts[split]).split()
        start = rng.randint(0, len(words) - FEWEST_WORDS)
        return " ".join(words[start : start + rng.randint(FEWEST_WORDS, MOST_WORDS)])


def _of_text(function: Callable[[str], str]) -> Callable[[random.Random, str], Instance]:
    return lambda rng, text: Instance(text, function(text))


def _of_table(table: Sequence[tuple[str, str]]) -> Callable[[random.Random, str], Instance]:
    return lambda rng, text: Instance(*rng.choice(table))


def _of_value(kind: str) -> Callable[[random.Random, str], Instance]:
    return lambda rng, text: Instance(*insert_values(rng, text, kind))


def _question(rng: random.Random, text: str) -> Instance:
    asked = rng.random() < 0.5
    return Instance(text.rstrip(".?!,") + ("?" if asked else rng.choice((".", "!", ""))), "yes" if asked else "no")


def _listing(rng: random.Random, write: Callable[[list[str]], str]) -> Instance:
    things = rng.sample(TEMPLATES.nouns, rng.randint(2, 5))
    return Instance(", ".join(things), write(things))


def _greeting(rng: random.Random, text: str) -> Instance:
    name = rng.choice(TEMPLATES.names)
    return Instance(name, f"Hello, {name}!")


def _fact(rng: random.Random, text: str) -> Instance:
    key = rng.choice(list(TEMPLATES.facts))
    value = rng.choice(TEMPLATES.facts[key])
    return Instance(fill(rng, TEMPLATES.fact_texts, key=key, value=value), f"{key}: {value}")


def _plural(rng: random.Random, text: str) -> Instance:
    noun = rng.choice(TEMPLATES.nouns)
    return Instance(noun, word_functions.plural(noun))


def _singular(rng: random.Random, text: str) -> Instance:
    noun = rng.choice(TEMPLATES.nouns)
    return Instance(word_functions.plural(noun), noun)


_MADE: dict[str, Callable[[random.Random, str], Instance]] = {
    **{name: _of_text(function) for name, function in word_functions.WORD_FUNCTIONS.items()},
    **{kind: _of_value(kind) for kind in ("email", "url", "phone", "price", "number", "hashtag")},
    **{name: _of_table(table) for name, table in TEMPLATES.lookups.items()},
    "question": _question,
    "bullets": lambda rng, _: _listing(rng, lambda things: "\n".join(f"- {thing}" for thing in things)),
    "joined_and": lambda rng, _: _listing(rng, lambda things: f"{', '.join(things[:-1])} and {things[-1]}"),
    "first_item": lambda rng, _: _listing(rng, lambda things: things[0]),
    "item_count": lambda rng, _: _listing(rng, lambda things: str(len(things))),
    "greeting": _greeting,
    "fact": _fact,
    "plural": _plural,
    "singular": _singular,
}
_ASKS = {**word_functions.TEMPLATES.asks, **TEMPLATES.asks}
_LABELS = {"question": ("yes", "no"), "kind": tuple(dict.fromkeys(kind for _, kind in TEMPLATES.lookups["kind"]))}
FUNCTIONS = tuple(
    TextFunction(name, make, _ASKS[name][:-1], _ASKS[name][-1], _LABELS.get(name, ())) for name, make in _MADE.items()
)
