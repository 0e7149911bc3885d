"""Rule: what a task says of each choice of its closed set.

`cloud_service.answer.contract` decides which set a task has; `cloud_service.generator` turns these texts into numbers.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import normalize

from cloud_service.answer.tool_choices import answers_of
from cloud_service.task import TaskDescription, Tool

MOST_EXAMPLES = 16
"""Examples of one choice that are read."""

LONGEST_MEANING = 400


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


def describe_choices(task: TaskDescription, choices: Sequence[str]) -> tuple[Choice, ...]:
    """What the task says of each choice."""
    task = task.normalized()
    answers = {answer: tool for tool in task.tools for answer in answers_of(task, tool.name)}
    return tuple(
        Choice(
            text,
            tool_meaning(answers[text]) if text in answers else _label_meaning(task, text, choices),
            tuple(example.input for example in task.examples if text in _chosen(example.output))[:MOST_EXAMPLES],
        )
        for text in choices
    )


def chosen_option(output: str, options: Sequence[str]) -> int | None:
    """The number of the option that an example's output is, or that its call names; None for none of them."""
    return next((options.index(text) for text in _chosen(output) if text in options), None)


def _chosen(output: str) -> tuple[str, ...]:
    """What an example chooses: its output, and of a call the function's name."""
    try:
        called = json.loads(output)
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
    """The label in words, with the sentences of the description that name this choice and no other."""
    spoken = in_words(label)
    clauses = []
    for sentence in re.split(r"(?<=[.!?;])\s+|\n+", task.description):
        named = [choice for choice in choices if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", sentence)]
        if named == [label]:
            clauses.append(sentence.strip())
    return f"{spoken}: {' '.join(clauses)}"[:LONGEST_MEANING] if clauses else spoken
