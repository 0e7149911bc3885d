"""The task description, and the prompt made of it.

The generator gets this prompt, and the *prompted* baseline has it as system prompt: a bundle is compared with the text
that it replaces. `cloud_service.schemas` checks limits, `cloud_service.generator` makes tokens.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from loragen.contract.answer import AnswerContract


@dataclass(frozen=True, slots=True)
class Example:
    """One few-shot example: an input that a device will get, and the output that it should give."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of the OpenAI schema, reduced to the parts that the prompt shows.

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
            tools=tuple(Tool(t.name.strip(), " ".join(t.description.split()), t.parameters) for t in self.tools),
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
        parts.append("Examples:\n" + "\n".join(f"Input: {e.input}\nOutput: {e.output}" for e in task.examples))
    if task.output_format:
        parts.append(f"Output format: {task.output_format}")
    return "\n\n".join(parts)


def residual_text(task: TaskDescription) -> str:
    """What of a task a device may keep in front of each input: the description and the output format.

    Examples are left to the LoRA, and a task with tools is left to it as a whole.
    """
    task = task.normalized()
    return "" if task.tools else "\n".join(part for part in (task.description, task.output_format) if part)


def _render_tool(tool: Tool) -> str:
    signature = f"{tool.name}({', '.join(tool.parameters)})" if tool.parameters else tool.name
    return f"- {signature}: {tool.description}" if tool.description else f"- {signature}"


def _trim(text: str) -> str:
    lines: Iterable[str] = (line.rstrip() for line in text.strip().splitlines())
    return "\n".join(lines)
