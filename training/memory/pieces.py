"""Values: a task description in pieces, each of which is encoded by itself.

Every sentence, tool, parameter and example is a piece. It has a text that the sentence encoder reads, and a value: what
the device may have to write for it. How pieces become numbers belongs to `slots`.
"""

import re
from dataclasses import dataclass

from cloud_service.task import TaskDescription, Tool

KINDS = ("description", "format", "tool", "parameter", "example", "label")
MOST_EXAMPLES = 16
LONGEST_EXAMPLE = 300
WHOLE = (0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a description that is encoded by itself.

    Attributes:
        kind: One of `KINDS`.
        text: What the encoder reads.
        value: What the device may have to write, spelled in edge tokens.
        meaning: Characters of `text` whose states are averaged for the piece's meaning; `WHOLE` for all.
        value_span: Characters of `text` that stand for the value; `WHOLE` when `text` is the value, word for word.
    """

    kind: str
    text: str
    value: str
    meaning: tuple[int, int] = WHOLE
    value_span: tuple[int, int] = WHOLE


def split_description(task: TaskDescription, labels: tuple[str, ...] = ()) -> tuple[Piece, ...]:
    """Pieces in the order of the prompt: sentences, tools with their parameters, examples, output format, labels.

    Args:
        task: What the client says.
        labels: The closed set of answers, where the client names it apart from the description.
    """
    pieces = [Piece("description", text, text) for text in split_sentences(task.description)]
    for tool in task.tools:
        pieces += _tool_pieces(tool)
    for example in task.examples[:MOST_EXAMPLES]:
        given, wanted = example.input[:LONGEST_EXAMPLE], example.output[:LONGEST_EXAMPLE]
        text = f"{given} => {wanted}"
        pieces.append(Piece("example", text, wanted, (0, len(given)), (len(given) + 4, len(text))))
    pieces += [Piece("format", text, text) for text in split_sentences(task.output_format)]
    for label in labels:
        spoken = in_words(label)
        pieces.append(Piece("label", spoken, label, value_span=(0, len(spoken))))
    return tuple(pieces)


def tool_text(tool: Tool) -> str:
    """What the encoder reads of a tool: its name in words, and its description."""
    spoken = in_words(tool.name)
    return f"{spoken}: {tool.description}" if tool.description else spoken


def in_words(name: str) -> str:
    """`PlayMusic_2` or `play_music-2` as `play music 2`; a name without letters as it is."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+", " ", name).strip().lower()
    return words or name


def split_sentences(text: str) -> list[str]:
    """Sentences and lines of a text."""
    parts = re.split(r"(?<=[.!?;])\s+|\n+", text)
    return [part.strip() for part in parts if part.strip()]


def _tool_pieces(tool: Tool) -> list[Piece]:
    spoken = in_words(tool.name)
    pieces = [Piece("tool", tool_text(tool), tool.name, value_span=(0, len(spoken)))]
    for parameter in tool.parameters:
        text = f"{spoken} {in_words(parameter)}"
        pieces.append(Piece("parameter", text, parameter, value_span=(len(spoken) + 1, len(text))))
    return pieces
