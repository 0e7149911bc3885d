"""Values: a chat as a request has it, before a template makes a prompt of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from loragen.web.body_fields import verify_unicode


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a function.

    Attributes:
        arguments: JSON, as text.
    """

    name: str
    arguments: str = "{}"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a chat, its content flattened to text.

    Attributes:
        calls: Of an assistant's message, the calls that it makes.
        name: Of the result of a call, the function that was called; empty when that is not known.
    """

    role: str
    content: str
    calls: tuple[FunctionCall, ...] = ()
    name: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a template is given beside the messages.

    Attributes:
        tools: Definitions of functions in OpenAI's form, JSON each; those of a specialization are in its weights.
        variables: A JSON object of the template's own variables, such as Qwen 3's `enable_thinking`.
    """

    tools: tuple[str, ...] = ()
    variables: str = "{}"

    def over(self, variables: Mapping[str, Any]) -> Self:
        """The same, with these variables where it has none of their name."""
        return replace(self, variables=json.dumps({**variables, **json.loads(self.variables)}))


PLAIN_RENDERING = Rendering()

RESERVED_VARIABLES = frozenset(
    (
        *("messages", "tools", "tool_choice", "functions", "function_call", "documents", "add_generation_prompt"),
        *("bos_token", "eos_token", "raise_exception", "strftime_now"),
    )
)
"""Variables of a template that this server sets itself."""

MAX_VARIABLES = 16
MAX_VARIABLE_CHARACTERS = 1_024

_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,63}")


def verify_variables(variables: Any) -> dict[str, Any]:
    """Variables for a chat template: texts, numbers, true and false under their names.

    Raises:
        ValueError: They are none, or not to be set.
    """
    if not isinstance(variables, dict) or len(variables) > MAX_VARIABLES:
        raise ValueError(f"expected an object of at most {MAX_VARIABLES} variables")
    for name, value in variables.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or name in RESERVED_VARIABLES:
            raise ValueError(f"{ascii(name)[:80]}: expected a name of a template's variable, not one of this server's")
        if not isinstance(value, bool | int | float | str):
            raise ValueError(f"{name}: expected a text, a number, true or false")
        if isinstance(value, str) and len(verify_unicode(value)) > MAX_VARIABLE_CHARACTERS:
            raise ValueError(f"{name}: expected at most {MAX_VARIABLE_CHARACTERS} characters")
    return variables
