"""Rule: calls of functions as clients write them in an example's output, in the one form in which devices write them.

That form is `{"name": NAME, "arguments": {...}}`, one call a line. OpenAI's messages and responses, their older
`function_call`, and Anthropic's `tool_use` become it; arguments may be JSON inside a text.
"""

import json
from collections.abc import Mapping
from typing import Any

from loragen.contract.errors import ContractError
from loragen.contract.strict_json import load_strict_json


def with_plain_calls(output: str) -> str:
    """An example's output with its calls in the form of devices; what is no call, or more than calls, as it is."""
    try:
        value = load_strict_json(output)
    except ContractError:
        return output
    calls = [_call(each) for each in _parts(value)]
    if not calls or not all(calls):
        return output
    return "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)


def is_plain_call(output: str) -> bool:
    """Whether an output is a call in the form of devices, or several."""
    try:
        lines = [json.loads(line) for line in output.split("\n")]
    except (ValueError, RecursionError):
        return False
    return all(isinstance(each, dict) and each.keys() == {"name", "arguments"} for each in lines)


def _parts(value: Any) -> list[Any]:
    """What may be a call each."""
    match value:
        case {"tool_calls": [*calls]} if not value.get("content"):
            return calls
        case {"function_call": {} as call} if not value.get("content"):
            return [call]
        case [*calls]:
            return calls
    return [value]


def _call(value: Any) -> dict[str, Any] | None:
    match value:
        case {"type": "tool_use", "name": str(name), "input": given}:
            pass
        case {"function": {"name": str(name)} as function}:
            given = function.get("arguments", {})
        case {"name": str(name), "arguments": given} if value.keys() <= {"name", "arguments", "type", "id", "call_id"}:
            pass
        case _:
            return None
    if isinstance(given, str):
        try:
            given = load_strict_json(given or "{}")
        except ContractError:
            return None
    given = {} if given is None else given
    return {"name": name, "arguments": given} if isinstance(given, Mapping) else None
