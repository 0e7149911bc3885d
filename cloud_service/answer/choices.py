"""Rule: what a task says of each choice of its closed set.

`cloud_service.answer.contract` decides which set a task has; `cloud_service.generator` turns these texts into numbers.
"""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import normalize

from cloud_service.answer.label_meanings import meaning_within
from cloud_service.answer.tool_choices import answers_of
from cloud_service.task import TaskDescription, Tool
from loragen.web.body_fields import verify_visible

MOST_EXAMPLES = 16
"""Examples of one choice that are read."""

LONGEST_MEANING = 400

_CODE = re.compile(r"[A-Z]{0,2}\d{0,2}|[a-z]|[^\w\s]+")
"""A label that says nothing itself, such as `P1`, `b` or an emoji."""

_LINE = re.compile(r"\s*(?:[-*•·|]|\d{1,2}[.)])\s*\S")
"""A line of a list or of a table."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One member of a closed set.

    Attributes:
        text: The answer itself.
        meaning: What it stands for, in words.
        examples: Inputs that are to be answered by it.
    """

    text: str
    meaning: str
    examples: tuple[str, ...] = ()


def are_distinct(choices: Sequence[str]) -> bool:
    """Whether no two choices are the same to who reads them: Unicode can write `é` as one character, and as two."""
    return len({normalize("NFC", choice) for choice in choices}) == len(choices)


def is_choice(text: str) -> bool:
    """Whether a text can be an answer that people and programs compare; nobody can type the others."""
    try:
        return verify_visible(text) == text.strip()
    except ValueError:
        return False


def as_choice(output: str, choices: tuple[str, ...]) -> str:
    """An output as the choice that it is, where both are JSON that is written differently; else as it is."""
    if output.strip() in choices:
        return output.strip()
    try:
        return _by_value(choices).get(json.dumps(json.loads(output), sort_keys=True), output)
    except (ValueError, RecursionError):
        return output


@lru_cache(maxsize=16)
def _by_value(choices: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for choice in choices:
        with suppress(ValueError, RecursionError):
            found[json.dumps(json.loads(choice), sort_keys=True)] = choice
    return found


def bare_labels(choices: Sequence[str]) -> Sequence[str]:
    """The choices by what tells them apart, where they are JSON: `{"label": "spam"}` is spam."""
    try:
        values = [json.loads(choice) for choice in choices]
    except (ValueError, RecursionError):
        return choices
    while all(isinstance(value, dict) for value in values):
        different = [key for key in values[0] if any(value.get(key) != values[0][key] for value in values)]
        if len(different) != 1 or not all(different[0] in value for value in values):
            return choices
        values = [value[different[0]] for value in values]
    return values if all(isinstance(value, str) for value in values) else choices


def describe_choices(task: TaskDescription, choices: Sequence[str]) -> tuple[Choice, ...]:
    """What the task says of each choice."""
    task = task.normalized()
    answers = {answer: tool for tool in task.tools for answer in answers_of(task, tool.name)}
    labels = bare_labels(choices)
    return tuple(
        Choice(
            text,
            tool_meaning(answers[text]) if text in answers else _label_meaning(task, label, labels),
            tuple(example.input for example in task.examples if text in _chosen(example.output))[:MOST_EXAMPLES],
        )
        for text, label in zip(choices, labels, strict=True)
    )


def chosen_option(output: str, options: Sequence[str]) -> int | None:
    """The number of the option that an example's output is, or that its call names; None for none of them."""
    return next((options.index(text) for text in _chosen(output) if text in options), None)


def _chosen(output: str) -> tuple[str, ...]:
    """What an example chooses: its output, and of a call, the first of several, the function's name."""
    try:
        called = json.loads(output.partition("\n")[0])
    except (ValueError, RecursionError):
        return (output,)
    name = called.get("name") if isinstance(called, dict) and "arguments" in called else None
    return (output, name) if isinstance(name, str) else (output,)


def tool_meaning(tool: Tool) -> str:
    """What an encoder reads of a tool: name in words, parameters and description."""
    spoken = in_words(tool.name)
    if tool.parameters:
        spoken += f" ({', '.join(in_words(parameter) for parameter in tool.parameters)})"
    return f"{spoken}: {tool.description}"[:LONGEST_MEANING] if tool.description else spoken


def in_words(name: str) -> str:
    """`PlayMusic_2` or `play_music-2` as `play music 2`; a name without letters as it is."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", name).strip().lower() or name


def _label_meaning(task: TaskDescription, label: str, choices: Sequence[str]) -> str:
    """The label in words, with the sentences of the description that name this choice, or what they say of it."""
    spoken = in_words(label)
    clauses = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\n+", task.description):
        named = [choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", sentence)]
        said = meaning_within(sentence, label, named) if label in named else ""
        if named == [label] and not (said and (_CODE.fullmatch(label) or _LINE.match(sentence))):
            clauses.append(sentence.strip())
        elif said:
            clauses.append(said)
    if not clauses:
        return spoken
    said = " ".join(clauses)
    return (said if _CODE.fullmatch(label) else f"{spoken}: {said}")[:LONGEST_MEANING]
