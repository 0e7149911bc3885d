"""Rule: which JSON the answers of a task are: as its schema, its words or its examples say it.

Examples alone count where they all are objects of one shape, and their names do not come from the inputs.
`stated_json` reads words. Examples that contradict them win, as for closed sets: words may be read wrong.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from cloud_service import limits
from cloud_service.answer.choices import are_distinct, is_choice
from cloud_service.answer.json_template import MOST_FIELDS, Schema, object_of
from cloud_service.answer.stated_json import leaves_open, stated_json
from cloud_service.task import TaskDescription
from loragen.contract.answer import AnswerContract, contract_of
from loragen.contract.errors import ContractError
from loragen.contract.schema_values import closed_values, is_of_schema
from loragen.contract.strict_json import load_strict_json

FEWEST_SHOWN = 3
"""Examples of one shape that alone say what answers look like."""

_WORD = re.compile(r"[^\W_]+")
_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "number", float: "number"}


def answer_of_schema(schema: object, *, are_bare: bool = False) -> AnswerContract:
    """JSON of a schema, or the closed set that it is, when it leaves nothing open but a label.

    Args:
        schema: A JSON Schema.
        are_bare: Labels that are nothing but texts are answered without quotes.

    Raises:
        ContractError: The schema is not supported.
    """
    contract = contract_of({"type": "json", "schema": schema})
    values = closed_values(contract.schema)
    choices = [text for _, text in values]
    if are_bare and all(text == json.dumps(label, ensure_ascii=False) for label, text in values):
        choices = [label for label, _ in values]
    if not 1 < len(choices) <= limits.MAX_TOOLS or not all(map(is_choice, choices)) or not are_distinct(choices):
        return contract
    try:
        return contract_of({"type": "choice", "choices": choices})
    except ContractError:  # a text is too long
        return contract


def find_json(task: TaskDescription) -> AnswerContract | None:
    """JSON that a task without tools states or shows; None where its answers may be anything else.

    Args:
        task: Normalized.
    """
    outputs = [example.output for example in task.examples]
    try:
        values = [load_strict_json(output) for output in outputs]
    except ContractError:
        return None
    stated = stated_json(task.description, task.output_format)
    if stated is not None and (stated.is_plain or values):
        return _confirmed(stated.schema, outputs, values)
    if stated is None and not leaves_open(task.description, task.output_format):
        schema = _shown(task, values)
        return None if schema is None else _confirmed(schema, outputs, values)
    return None


def _confirmed(schema: Schema, outputs: Sequence[str], values: Sequence[Any]) -> AnswerContract | None:
    """The contract, where all examples are of it."""
    try:
        found = contract_of({"type": "json", "schema": schema})
        closed = answer_of_schema(schema)
    except ContractError:  # over a limit
        return None
    if not all(is_of_schema(value, found.schema) for value in values):
        return None
    # A label in JSON of another spelling is no text of the set.
    return closed if set(outputs) <= set(closed.choices) else found


def _shown(task: TaskDescription, values: Sequence[Any]) -> Schema | None:
    """The schema of objects that all have the same names."""
    if len({example.input for example in task.examples}) < FEWEST_SHOWN or not all(
        isinstance(value, dict) and 0 < len(value) <= MOST_FIELDS for value in values
    ):
        return None
    if any(value.keys() != values[0].keys() for value in values):
        return None
    if all(any(_is_in(name, example.input) for example in task.examples) for name in values[0]):
        return None  # they may be taken from the input
    return _schema_of(values)


def _is_in(name: str, text: str) -> bool:
    """Whether the words of a name stand in a text in any form, such as `pears` for `pear`."""
    words = _WORD.findall(text.casefold())
    stems = [word[: max(3, len(word) - 2)] for word in _WORD.findall(name.casefold())]
    return all(any(word.startswith(stem) for word in words) for stem in stems)


def _schema_of(values: Sequence[Any]) -> Schema:
    """What all values are; null may stand for what an input does not give."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, dict) for value in present):
        if len(present) < len(values) or any(value.keys() != present[0].keys() or not value for value in present):
            return {}
        return object_of({name: _schema_of([value[name] for value in present]) for name in present[0]})
    if present and all(isinstance(value, list) for value in present):
        items = {_TYPES.get(type(item)) for value in present for item in value}
        kind = items.pop() if len(items) == 1 else None
        schema: Schema = {"type": "array", **({"items": {"type": kind}} if kind else {})}
        return schema if len(present) == len(values) else {}
    kinds = {_TYPES.get(type(value)) for value in present}
    if len(kinds) != 1 or None in kinds:
        return {}
    kind = str(kinds.pop())
    return {"type": kind} if kind == "boolean" and len(present) == len(values) else {"type": [kind, "null"]}
