"""Values: the task description, and the one text that the cloud LM reads for it.

The same text is the system prompt of the *prompted* baseline, so that what a bundle replaces and what it is compared
with are one string. Validation against limits belongs to `cloud_service.schemas`; tokens to `cloud_service.generator`.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One few-shot example: what the device will be given, and what it should answer."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of the OpenAI schema, flattened to what a router needs.

    Attributes:
        name: Function name, the answer of a routing task.
        description: What the tool does; may be empty.
        parameters: Parameter names in the order of the schema.
    """

    name: str
    description: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskDescription:
    """What a client says of its task; any part may be empty, not all of them."""

    description: str
    examples: tuple[Example, ...] = ()
    tools: tuple[Tool, ...] = ()
    output_format: str = ""

    def normalized(self) -> "TaskDescription":
        """The description with white space that carries no meaning removed, so that equal tasks share a cache entry."""
        return TaskDescription(
            description=_trim(self.description),
            examples=tuple(Example(_trim(e.input), _trim(e.output)) for e in self.examples),
            tools=tuple(Tool(t.name.strip(), " ".join(t.description.split()), t.parameters) for t in self.tools),
            output_format=_trim(self.output_format),
        )


def render_prompt(task: TaskDescription) -> str:
    """System prompt for a task: description, tools, examples, output format, in this order; empty parts left out."""
    task = task.normalized()
    parts = [task.description] if task.description else []
    if task.tools:
        parts.append("Tools:\n" + "\n".join(_render_tool(tool) for tool in task.tools))
    if task.examples:
        parts.append("Examples:\n" + "\n".join(f"Input: {e.input}\nOutput: {e.output}" for e in task.examples))
    if task.output_format:
        parts.append(f"Output format: {task.output_format}")
    return "\n\n".join(parts)


def _render_tool(tool: Tool) -> str:
    signature = f"{tool.name}({', '.join(tool.parameters)})" if tool.parameters else tool.name
    return f"- {signature}: {tool.description}" if tool.description else f"- {signature}"


def _trim(text: str) -> str:
    lines: Iterable[str] = (line.rstrip() for line in text.strip().splitlines())
    return "\n".join(lines)
