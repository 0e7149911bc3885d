"""The task description, and the prompt made of it.

The generator gets this prompt, and the *prompted* baseline has it as system prompt: a bundle is compared with the text
that it replaces. `cloud_service.schemas` checks limits, `cloud_service.generator` makes tokens.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from loragen.contract.answer import AnswerContract
from loragen.contract.limits import MAX_RESIDUAL_PROMPT_BYTES

MOST_VALUES = 16
"""Values of one parameter that the prompt shows."""


@dataclass(frozen=True, slots=True)
class Example:
    """One few-shot example: an input that a device will get, and the output that it should give."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of the OpenAI schema.

    Attributes:
        name: Function name, the answer of a routing task.
        description: What the tool does; may be empty.
        parameters: Parameter names in the order of the schema.
        schema: JSON Schema of the arguments, as `canonical_parameters` writes it; empty where nothing is known of it,
            or there are none.
        notes: What the schema says of some of the parameters, by name.
    """

    name: str
    description: str
    parameters: tuple[str, ...] = ()
    schema: str = ""
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """A client's description of its task; any part may be empty, but not all of them.

    Example:
        TaskDescription("Sort each mail.", examples=(Example("Where is my parcel?", "delivery"),))

    Attributes:
        answer: What an answer may look like; None leaves it to what the other parts say.
    """

    description: str
    examples: tuple[Example, ...] = ()
    tools: tuple[Tool, ...] = ()
    output_format: str = ""
    answer: AnswerContract | None = None

    def normalized(self) -> "TaskDescription":
        """The same without white space that has no meaning, so that equal tasks share a cache entry."""
        return TaskDescription(
            description=_trim(self.description),
            examples=tuple(Example(_trim(e.input), _trim(e.output)) for e in self.examples),
            tools=tuple(
                replace(t, name=t.name.strip(), description=" ".join(t.description.split())) for t in self.tools
            ),
            output_format=_trim(self.output_format),
            answer=self.answer,
        )


def render_prompt(task: TaskDescription) -> str:
    """The prompt for a task: description, tools, examples and output format, in this order, without empty parts."""
    task = task.normalized()
    parts = [task.description] if task.description else []
    if task.tools:
        parts.append("Tools:\n" + "\n".join(_render_tool(tool) for tool in task.tools))
    if task.examples:
        parts.append("Examples:\n" + "\n".join(map(_render_example, task.examples)))
    if task.output_format:
        parts.append(f"Output format: {task.output_format}")
    return "\n\n".join(parts)


def residual_texts(task: TaskDescription) -> tuple[str, ...]:
    """What of a task a device may keep in front of each input, the most first; nothing of a task with tools or calls.

    That is the description, the examples and the output format. Where all examples take too much room, fewer do, the
    first ones. The last text has none of them, and may be empty.
    """
    task = task.normalized()
    if task.tools or (task.answer is not None and task.answer.kind == "tool_calls"):
        return ()
    texts, shown = ["\n".join(filter(None, (task.description, task.output_format)))], ""
    for example in task.examples:
        shown += f"{_render_example(example)}\n"
        if len(shown) > MAX_RESIDUAL_PROMPT_BYTES:
            break
        texts.append("\n\n".join(filter(None, (task.description, shown.rstrip("\n"), task.output_format))))
    return tuple(reversed(texts))


def is_shown_in(residual_text: str, example: Example) -> bool:
    """Whether a residual text has an example in it."""
    return f"{_render_example(example)}\n" in f"{residual_text}\n"


def _render_example(example: Example) -> str:
    return f"Input: {example.input}\nOutput: {example.output}"


def _render_tool(tool: Tool) -> str:
    schema = json.loads(tool.schema) if tool.schema else {}
    types, notes = schema.get("properties", {}), dict(tool.notes)
    required = schema.get("required", tool.parameters)
    parts = []
    for name in tool.parameters:
        kind, note = _kind(types.get(name, {})), notes.get(name)
        parts.append(
            name + ("" if name in required else "?") + (f": {kind}" if kind else "") + (f" ({note})" if note else "")
        )
    signature = f"{tool.name}({', '.join(parts)})" if parts else tool.name
    return f"- {signature}: {tool.description}" if tool.description else f"- {signature}"


def _kind(schema: Mapping[str, Any]) -> str:
    """A parameter's type in few letters: its values, or the names of its types; empty for any."""
    if "enum" in schema:
        return "|".join(json.dumps(value, ensure_ascii=False).strip('"') for value in schema["enum"][:MOST_VALUES])
    if "anyOf" in schema:
        return "|".join(dict.fromkeys(filter(None, map(_kind, schema["anyOf"]))))
    if schema.get("type") == "array" and (items := _kind(schema.get("items", {}))):
        return f"{items}[]"
    return str(schema.get("format") or schema.get("type", ""))


def _trim(text: str) -> str:
    # Not `splitlines`, which would cut JSON at characters that are a part of it.
    lines: Iterable[str] = (line.rstrip() for line in text.strip().split("\n"))
    return "\n".join(lines)
