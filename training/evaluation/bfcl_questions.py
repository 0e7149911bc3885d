"""Questions of the Berkeley Function Calling Leaderboard, v4, and whether a call answers one. For evaluation only.

The check is the leaderboard's for Python calls, as small as it can be: the function's name, no argument that is missing
or unknown, and each value among those that are accepted, of the right type. Texts are compared without case, blanks and
punctuation. An argument may be left out where the empty text is among its values.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CATEGORIES = {"simple": "simple_python", "multiple": "multiple"}
"""Names of the leaderboard's files."""

_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
_ANY = "any"
_LEFT_OUT = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class BfclQuestion:
    """One question.

    Attributes:
        tools: Its functions, in OpenAI's form.
        function: The one to call.
        accepted: For each argument the values that are right.
    """

    id: str
    text: str
    tools: tuple[Mapping[str, Any], ...]
    function: str
    accepted: Mapping[str, Sequence[Any]]


def load_bfcl_questions(data: Path, category: str, count: int, seed: int) -> list[BfclQuestion]:
    """Some questions of a category, drawn at random.

    Args:
        data: With `BFCL_v4_*.json` and `possible_answer/`.
        category: One of `CATEGORIES`.
        count: How many; all when there are fewer.
        seed: Which ones.

    Raises:
        OSError: A file cannot be read.
        ValueError: It is not of this form.
    """
    name = f"BFCL_v4_{CATEGORIES[category]}.json"
    answers = {line["id"]: line["ground_truth"] for line in _lines(data / "possible_answer" / name)}
    try:
        found = [_question(line, answers[line["id"]]) for line in _lines(data / name)]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{name}: expected questions of BFCL v4: {error!r}") from error
    return random.Random(seed).sample(found, min(count, len(found)))


def is_accepted(question: BfclQuestion, name: str, arguments: str) -> bool:
    """Whether a call is one that the question accepts.

    Args:
        question: What was asked.
        name: Of the function that was called.
        arguments: JSON, as the model wrote it.
    """
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return False
    if name != question.function or not isinstance(values, dict):
        return False
    (function,) = (tool["function"] for tool in question.tools if tool["function"]["name"] == name)
    properties = function["parameters"].get("properties", {})
    return _fits_fields(values, question.accepted) and all(
        _is_of_type(value, properties.get(key, {})) for key, value in values.items()
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _question(line: Mapping[str, Any], truth: Sequence[Mapping[str, Any]]) -> BfclQuestion:
    ((function, accepted),) = truth[0].items()
    (message,) = line["question"][0]
    tools = tuple(
        {
            "type": "function",
            "function": {
                "name": each["name"],
                "description": each["description"],
                "parameters": _schema(each["parameters"]),
            },
        }
        for each in line["function"]
    )
    return BfclQuestion(line["id"], message["content"], tools, function, accepted)


def _schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON Schema of one of the leaderboard's, which has Python's types and keywords of its own."""
    made = {key: schema[key] for key in ("description", "enum", "required") if key in schema}
    kind = schema.get("type", _ANY)
    if kind != _ANY:
        made["type"] = _TYPES.get(kind, kind)
    if "properties" in schema:
        made["properties"] = {name: _schema(each) for name, each in schema["properties"].items()}
    if "items" in schema:
        made["items"] = _schema(schema["items"])
    return made


def _fits_fields(values: Mapping[str, Any], accepted: Mapping[str, Sequence[Any]]) -> bool:
    return values.keys() <= accepted.keys() and all(
        any(_is_same(values[name], each) for each in choices) if name in values else "" in choices
        for name, choices in accepted.items()
    )


def _is_same(value: Any, accepted: Any) -> bool:
    match value, accepted:
        case str(), str():
            return _plain(value) == _plain(accepted)
        case list(), list():
            return len(value) == len(accepted) and all(map(_is_same, value, accepted))
        case dict(), dict():
            return _fits_fields(value, accepted)
    return isinstance(value, bool) is isinstance(accepted, bool) and bool(value == accepted)


def _plain(text: str) -> str:
    return _LEFT_OUT.sub("", text).lower().replace("'", '"')


def _is_of_type(value: Any, schema: Mapping[str, Any]) -> bool:
    match schema.get("type"), value:
        case (("integer" | "number"), bool()):
            return False
        case ("integer", int()) | ("number", int() | float()) | ("string", str()) | ("boolean", bool()):
            return True
        case ("array", list()) | ("object", dict()) | (None, _):
            return True
    return False
