"""Values: the demo's tasks, read from `demo/tasks/*.json`.

A file is `{"name", "request": {"description", "examples", "tools", "output_format"}, "inputs": [{"input", "output"}]}`:
the body of `POST /generate-lora` as it is sent, and held-out inputs with the answers expected. Optional are
`max_tokens`, and `choices`: every answer possible. The prompt of the *prompted* way is rendered here by the same code
with which the cloud LM reads the request.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from cloud_service.task import Example, TaskDescription, Tool, render_prompt

TASKS_DIRECTORY = Path(__file__).parent / "tasks"


class TaskFileError(Exception):
    """A task file is not as this module describes."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Parameters(_Value):
    properties: dict[str, Any] = {}


class _Function(_Value):
    name: str
    description: str = ""
    parameters: _Parameters = _Parameters()


class _Tool(_Value):
    function: _Function


class _Request(_Value):
    description: str = ""
    examples: tuple[Example, ...] = ()
    tools: tuple[_Tool, ...] = ()
    output_format: str = ""


class _TaskFile(_Value):
    name: str
    request: _Request
    inputs: tuple[Example, ...] = Field(min_length=1)
    max_tokens: int = 32
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DemoTask:
    """One task of the demo.

    Attributes:
        name: Name of the specialization.
        request: JSON body for `POST /generate-lora`, without `publish`.
        prompt: The same request as a system prompt.
        cases: Held-out inputs, with the answers expected.
        max_tokens: Longest answer asked for.
        choices: Every answer possible; empty when the set is open.
    """

    name: str
    request: Mapping[str, Any]
    prompt: str
    cases: tuple[Example, ...]
    max_tokens: int = 32
    choices: tuple[str, ...] = ()


def load_tasks(directory: Path = TASKS_DIRECTORY) -> tuple[DemoTask, ...]:
    """Every task file of a directory, in the order of the file names.

    Raises:
        TaskFileError: No file, a file that is not as the module describes, or two tasks of one name.
    """
    tasks = tuple(load_task(path) for path in sorted(directory.glob("*.json")))
    if not tasks:
        raise TaskFileError(f"no task files in {directory}")
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise TaskFileError(f"task names in {directory} repeat: {', '.join(names)}")
    return tasks


def load_task(path: Path) -> DemoTask:
    """One task file.

    Raises:
        TaskFileError: The file cannot be read, or is not as the module describes.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        task = _TaskFile.model_validate(document)
    except (OSError, ValueError) as error:
        raise TaskFileError(f"{path}: {error}") from error
    prompt = render_prompt(_describe(task.request))
    return DemoTask(task.name, document["request"], prompt, task.inputs, task.max_tokens, task.choices)


def _describe(request: _Request) -> TaskDescription:
    functions = [tool.function for tool in request.tools]
    tools = tuple(Tool(each.name, each.description, tuple(each.parameters.properties)) for each in functions)
    return TaskDescription(request.description, request.examples, tools, request.output_format)
