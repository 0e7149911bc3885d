"""Rule: a chat in which functions were called, in words of user and assistant alone.

It is for a model that has to say what a function returned, and whose template knows no calls. A small model that sees a
call in the conversation writes another one. So the call itself is left out, and its result stands behind the request
that it serves, as words where it is JSON.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edge_runtime.serving.chat import ChatMessage

INSTRUCTION = "Answer the user in one short sentence, from the result."
"""System message of a chat that ends with a result."""

_NOTHING = "none"


def with_results_in_words(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The chat without calls that have a result, and with the results as words of the user.

    Args:
        messages: At least one.
    """
    found: list[ChatMessage] = []
    for number, message in enumerate(messages):
        following = messages[number + 1].role if number + 1 < len(messages) else ""
        if message.calls and following == "tool":
            found += [replace(message, calls=())] if message.content else []
        elif message.role != "tool":
            found.append(message)
        elif found and found[-1].role == "user":
            space = "\n" if messages[number - 1].role == "tool" else "\n\n"
            found[-1] = replace(found[-1], content=f"{found[-1].content}{space}{_result(message)}")
        else:
            found.append(ChatMessage("user", _result(message)))
    return with_instruction(found, INSTRUCTION) if messages[-1].role == "tool" else found


def with_instruction(messages: Sequence[ChatMessage], text: str) -> list[ChatMessage]:
    """The chat with a text as its system message, or behind the one that it has."""
    if messages and messages[0].role == "system":
        own, *others = messages
        return [replace(own, content=f"{own.content}\n\n{text}"), *others]
    return [ChatMessage("system", text), *messages]


def _result(message: ChatMessage) -> str:
    try:
        text = _words(json.loads(message.content, parse_float=str, parse_int=str))  # numbers stay as they are written
        text.encode()  # half a surrogate pair, which JSON can spell, stays an escape
    except (ValueError, RecursionError):
        text = message.content
    return f"Result: {text or _NOTHING}"


def _words(value: Any, is_inside: bool = False) -> str:
    """JSON in words; in brackets is an object inside of another, also in a list there, and a list inside a list."""
    if value in ("", [], {}):
        return _NOTHING
    if isinstance(value, Mapping):
        text = ", ".join(f"{name.replace('_', ' ')}: {_words(each, True)}" for name, each in value.items())
        return f"({text})" if is_inside else text
    if isinstance(value, list):
        return "; ".join(
            f"({_words(each)})" if isinstance(each, list) and each else _words(each, is_inside) for each in value
        )
    return value if isinstance(value, str) else json.dumps(value)
