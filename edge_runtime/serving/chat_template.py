"""Adapter: a model's chat template, a Jinja program of the model's maker, in a sandbox.

It gives templates what those of published models expect, as Transformers does: the messages, the tools, the texts of
BOS and EOS, `raise_exception`, `strftime_now`, `break` and `continue`, `tojson` that leaves letters as they are, and
`{% generation %}`, which marks what a model writes and renders as nothing.

llama-cpp-python has such a class, too. It loads six megabytes with it that a device does not need.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _GenerationTag(Extension):
    tags = frozenset(("generation",))  # type: ignore[assignment]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """A compiled template.

    Args:
        source: Its text.
        eos: What a template writes at the end of a turn.
        bos: What a template begins with.
        answer: Render the beginning of an answer too.

    Raises:
        jinja2.TemplateError: It does not compile.
    """

    def __init__(self, source: str, eos: str, bos: str, answer: bool) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, LoopControlExtension]
        )
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(source)
        # Templates ask whether these are none, or are defined at all.
        self._variables: dict[str, Any] = {
            "eos_token": eos,
            "bos_token": bos,
            "add_generation_prompt": answer,
            "tools": None,
            "tool_choice": None,
            "functions": None,
            "function_call": None,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """The prompt of a chat; whatever the template raises goes through."""
        return self._template.render(self._variables | variables, messages=list(messages))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise ValueError(message)


def _strftime_now(form: str) -> str:
    # The wall clock of the place, as in Transformers.
    return datetime.now().astimezone().strftime(form)
