"""Family: transformations of one short text. Every function applies to every text; only the description tells which.

The functions are this project's own; the texts are utterances, reviews and word lists of the other families.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cloud_service.task import Example, TaskDescription
from training.corpus import Split
from training.episodes import Episode, Instance, choose_examples
from training.families import wording


@dataclass(frozen=True, slots=True)
class Transformation:
    """A function of a text, with ways to ask for it; the last wording is kept from training."""

    name: str
    apply: Callable[[str], str]
    wordings: tuple[str, ...]


def _words(text: str) -> list[str]:
    return text.split()


TRANSFORMATIONS = (
    Transformation(
        "upper",
        str.upper,
        (
            "Write the text in capital letters.",
            "Convert everything to uppercase.",
            "Change the message to upper case.",
            "Shout: repeat the text in all caps.",
        ),
    ),
    Transformation(
        "lower",
        str.lower,
        (
            "Write the text in lower case.",
            "Convert all letters to lowercase.",
            "Make every letter small.",
            "Remove all capitals from the text by lowering them.",
        ),
    ),
    Transformation(
        "title",
        lambda t: " ".join(w.capitalize() for w in _words(t)),
        (
            "Capitalize each word.",
            "Write the text in title case.",
            "Start every word with a capital letter.",
            "Turn the sentence into a headline: capitalize every word.",
        ),
    ),
    Transformation(
        "first_word",
        lambda t: _words(t)[0],
        (
            "Give the first word of the text.",
            "Return only the first word.",
            "Which word does the sentence start with?",
            "Output the word at the beginning.",
        ),
    ),
    Transformation(
        "last_word",
        lambda t: _words(t)[-1],
        (
            "Give the last word of the text.",
            "Return only the last word.",
            "Which word does the sentence end with?",
            "Output the final word.",
        ),
    ),
    Transformation(
        "second_word",
        lambda t: _words(t)[1],
        (
            "Give the second word of the text.",
            "Return only word number two.",
            "Which word comes second?",
            "Output the second word.",
        ),
    ),
    Transformation(
        "first_two_words",
        lambda t: " ".join(_words(t)[:2]),
        (
            "Give the first two words.",
            "Return the first two words of the text.",
            "Cut the text after two words.",
            "Output only the two words at the beginning.",
        ),
    ),
    Transformation(
        "first_letter",
        lambda t: t[0],
        (
            "Give the first letter of the text.",
            "Return only the first character.",
            "Which letter does the text start with?",
            "Output the initial letter.",
        ),
    ),
    Transformation(
        "reverse_words",
        lambda t: " ".join(reversed(_words(t))),
        (
            "Reverse the order of the words.",
            "Write the words backwards, last word first.",
            "Invert the word order.",
            "Output the words in reverse order.",
        ),
    ),
    Transformation(
        "initials",
        lambda t: "".join(w[0] for w in _words(t)).upper(),
        (
            "Make an acronym from the text.",
            "Give the initials of the words.",
            "Write the first letter of each word in capitals.",
            "Abbreviate the text to its initials.",
        ),
    ),
    Transformation(
        "hyphens",
        lambda t: "-".join(_words(t)),
        (
            "Replace the spaces with hyphens.",
            "Join the words with hyphens.",
            "Put a dash between the words.",
            "Turn spaces into hyphens.",
        ),
    ),
    Transformation(
        "snake",
        lambda t: "_".join(_words(t.lower())),
        (
            "Convert the text to snake_case.",
            "Write it in snake case.",
            "Join the words in lower case with underscores.",
            "Turn the text into a snake_case name.",
        ),
    ),
    Transformation(
        "quote",
        lambda t: f'"{t}"',
        (
            "Put the text in quotation marks.",
            "Wrap the message in double quotes.",
            "Quote the text.",
            "Add quotes around the text.",
        ),
    ),
    Transformation(
        "repeat",
        lambda t: t,
        (
            "Repeat the text exactly.",
            "Copy the input.",
            "Echo the message without changes.",
            "Output the same text again.",
        ),
    ),
    Transformation(
        "drop_last",
        lambda t: " ".join(_words(t)[:-1]),
        (
            "Remove the last word.",
            "Drop the final word of the text.",
            "Repeat the text without its last word.",
            "Delete the word at the end.",
        ),
    ),
    Transformation(
        "drop_first",
        lambda t: " ".join(_words(t)[1:]),
        (
            "Remove the first word.",
            "Drop the first word of the text.",
            "Repeat the text without its first word.",
            "Delete the word at the beginning.",
        ),
    ),
    Transformation(
        "commas",
        lambda t: ", ".join(_words(t)),
        (
            "Separate the words with commas.",
            "Put a comma between the words.",
            "List the words with commas.",
            "Write a comma-separated list of the words.",
        ),
    ),
    Transformation(
        "count",
        lambda t: str(len(_words(t))),
        (
            "Count the words.",
            "How many words does the text have?",
            "Give the number of words.",
            "Output the word count.",
        ),
    ),
    Transformation(
        "exclaim",
        lambda t: t.rstrip(".?!") + "!",
        (
            "End the text with an exclamation mark.",
            "Add an exclamation mark.",
            "Make it an exclamation with ! at the end.",
            "Finish the sentence with !.",
        ),
    ),
    Transformation(
        "please",
        lambda t: "please " + t,
        (
            "Make the request polite by putting please in front.",
            "Add please at the beginning.",
            "Start the text with please.",
            "Prefix the request with the word please.",
        ),
    ),
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
            output_format=wording.maybe(
                rng, 0.2, ("Only the result.", "the changed text", "Answer with the result only.")
            ),
        )
        return Episode(f"transform/{function.name}", task, tuple(instances[taken : taken + inputs]))

    def _text(self, rng: random.Random, split: Split) -> str:
        words = rng.choice(self._texts[split]).split()
        count = rng.randint(2, 9)
        if len(words) < 2:
            return self._text(rng, split)
        start = rng.randint(0, max(0, len(words) - count))
        return " ".join(words[start : start + count])
