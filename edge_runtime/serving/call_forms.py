"""Rule: how a model writes calls of functions, as its chat template shows it.

A template writes the calls of earlier answers into a conversation. So one that is rendered with a call, and with two,
shows what the model was trained to write, be it Qwen's `<tool_call>`, Llama 3's bare JSON or FunctionGemma's
`<start_function_call>call:`. Nothing is known here of any family by its name. Who decodes, and what a specialization
of this project writes, is left to `serving.tool_calls`.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_runtime.serving.chat import FunctionCall
from edge_runtime.serving.json_text import json_text


@dataclass(frozen=True, slots=True)
class CallForm:
    """How calls are written.

    Attributes:
        opening: What stands in front of a call; empty when an answer that is a call begins with it.
        key: Name of the arguments in the call's JSON; empty for a call that is no JSON, `NAME{KEY:VALUE}`.
        closing: What stands behind it.
        between: What stands between two calls; None when an answer is one call at most.
        quote: What a call that is no JSON has around its texts.
    """

    opening: str = ""
    key: str = "arguments"
    closing: str = ""
    between: str | None = None
    quote: str = ""

    def beginning_of(self, name: str) -> str:
        """What stands in front of a call's arguments; the blank behind it belongs to the tokens of the arguments."""
        return f'{{"name": {json.dumps(name)}, "{self.key}":'

    def text_of(self, call: FunctionCall) -> str:
        """A call, without what stands in front of it and behind it."""
        return f"{self.beginning_of(call.name)} {call.arguments}}}"

    def parse(self, text: str) -> FunctionCall | None:
        """The call that stands between opening and closing; None when it is none."""
        try:
            if not self.key:
                return _Plain(text, self.quote).call()
            fields = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(fields, dict) or not isinstance(fields.get("name"), str):
            return None
        arguments = fields.get(self.key, {})
        return FunctionCall(fields["name"], json_text(arguments)) if isinstance(arguments, dict) else None


OWN_FORM = CallForm(between="\n")
"""How specializations are trained to write calls."""

HERMES_FORM = CallForm("<tool_call>\n", "arguments", "\n</tool_call>", "\n")
"""For a model whose template knows no calls: the form that most models have met."""

RenderCalls = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], str]
"""Renders messages and tools by a model's template, without the beginning of an answer."""

_NAME, _KEY, _TEXT, _ANSWER = "probe_name", "probe_key", "probe text", "Ω"
_JSON_CALL = re.compile(
    rf'\{{\s*"name":\s*"{_NAME}",\s*"(\w+)":\s*\{{\s*"{_KEY}":\s*"{_TEXT}"\s*\}}\s*\}}',
)
_PLAIN_CALL = re.compile(rf"{_NAME}\{{{_KEY}:(.*?){_TEXT}\1\}}")
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "A function.",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string", "description": "A text."}}},
    },
}
_USER = {"role": "user", "content": "A question."}


def find_call_form(render: RenderCalls) -> CallForm | None:
    """The form that a template shows; None when it shows no calls, or none that could be read.

    Args:
        render: The template; it may raise anything.
    """
    try:
        written = _written(render, 1)
    except Exception:  # a template is a program of the model's maker: it may raise anything
        return None
    json_call, plain_call = _JSON_CALL.search(written), _PLAIN_CALL.search(written)
    found = json_call or plain_call
    if found is None:
        return None
    opening, closing = written[: found.start()], written[found.end() :]
    form = CallForm(opening, json_call[1] if json_call else "", closing, quote="" if json_call else found[1])
    try:
        calls = _written(render, 2).split(found[0])
    except Exception:  # many want one call at a time
        return form
    two = len(calls) == 3 and calls[1].startswith(closing) and calls[1].endswith(opening)
    if not two or len(calls[1]) < len(closing) + len(opening):
        return form
    between = calls[1].removeprefix(closing).removesuffix(opening)
    return CallForm(form.opening, form.key, form.closing, between, form.quote) if opening else form


def _written(render: RenderCalls, count: int) -> str:
    """What an answer is that makes so many calls: what the template puts around every answer is taken off."""
    call = {"type": "function", "id": "call00000", "function": {"name": _NAME, "arguments": {_KEY: _TEXT}}}
    plain = render([_USER, {"role": "assistant", "content": _ANSWER}], [_TOOL])
    calls = render([_USER, {"role": "assistant", "content": "", "tool_calls": [call] * count}], [_TOOL])
    before = len(os.path.commonprefix([plain, calls]))  # noqa: RUF071 - these are no paths
    behind = len(plain) - plain.rindex(_ANSWER) - len(_ANSWER)
    return calls[before : len(calls) - behind] if behind and calls.endswith(plain[-behind:]) else calls[before:]


class _Plain:
    """Reads `NAME{KEY:VALUE,...}`, where texts are in quotes of the model's own, and lists and objects may be inside.

    Raises:
        ValueError: From its methods: it is no such call.
    """

    def __init__(self, text: str, quote: str) -> None:
        quoted = f"{re.escape(quote)}(.*?){re.escape(quote)}" if quote else "((?!))"
        parts = re.compile(rf"\s*(?:{quoted}|([{{}}\[\],:])|([^{{}}\[\],:]+))", re.DOTALL)
        self._parts: list[tuple[str, str]] = []  # kinds and texts, the next one last
        for quotation, sign, word in (match.groups() for match in parts.finditer(text.strip())):
            self._parts.append(
                ("text", quotation) if quotation is not None else ("sign", sign) if sign else ("word", word)
            )
        self._parts.reverse()

    def call(self) -> FunctionCall:
        name, arguments = self._take("word"), self._value()
        if self._parts or not isinstance(arguments, dict):
            raise ValueError("expected a name and arguments")
        return FunctionCall(name.strip(), json_text(arguments))

    def _take(self, kind: str, *texts: str) -> str:
        if not self._parts or self._parts[-1][0] != kind or (texts and self._parts[-1][1] not in texts):
            raise ValueError(f"expected {kind}")
        return self._parts.pop()[1]

    def _value(self) -> Any:
        kind, text = self._parts.pop() if self._parts else ("end", "")
        if kind == "word":
            try:
                return json.loads(text)
            except ValueError:
                return text.strip()
        if kind == "text":
            return text
        if text == "{":
            return dict(self._members("}", lambda: (self._key(), self._value())))
        if text == "[":
            return list(self._members("]", self._value))
        raise ValueError("expected a value")

    def _key(self) -> str:
        key = self._take("text" if self._parts and self._parts[-1][0] == "text" else "word")
        self._take("sign", ":")
        return key.strip()

    def _members(self, end: str, member: Callable[[], Any]) -> Iterator[Any]:
        if self._parts and self._parts[-1] == ("sign", end):
            self._parts.pop()
            return
        while True:
            yield member()
            if self._take("sign", ",", end) == end:
                return
