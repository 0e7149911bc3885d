"""Values: the demo's tasks, read from `demo/tasks/*.json`.

A file is `{"name", "request": {"description", "examples", "tools", "output_format"}, "inputs": [{"input", "output"}]}`:
the body of `POST /generate-lora` as it is sent, and held-out inputs with the answers expected. Optional are
`max_tokens`, and `choices`: every answer possible. The prompt of the *prompted* way is rendered here by the same code
with which the cloud LM reads the request.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud_service.task import Example, TaskDescription, Tool, render_prompt
from demo.errors import TaskFileError

TASKS_DIRECTORY = Path(__file__).parent / "tasks"
DEFAULT_MAX_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out input and the answer expected."""

    input: str
    output: str


@dataclass(frozen=True, slots=True)
class DemoTask:
    """One task of the demo.

    Attributes:
        name: Name of the specialization.
        request: JSON body for `POST /generate-lora`, without `publish`.
        prompt: The same request as a system prompt.
        cases: Held-out inputs.
        max_tokens: Longest answer asked for.
        choices: Every answer possible; empty when the set is open.
    """

    name: str
    request: Mapping[str, object]
    prompt: str
    cases: tuple[Case, ...]
    max_tokens: int = DEFAULT_MAX_TOKENS
    choices: tuple[str, ...] = ()

    @property
    def ways(self) -> int:
        """How often each input is asked."""
        return 5 if self.choices else 3


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
        TaskFileError: The file cannot be read or is not as the module describes.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        request = document["request"]
        cases = tuple(Case(_text(case["input"]), _text(case["output"])) for case in document["inputs"])
        task = DemoTask(
            name=_text(document["name"]),
            request=request,
            prompt=render_prompt(_describe(request)),
            cases=cases,
            max_tokens=int(document.get("max_tokens", DEFAULT_MAX_TOKENS)),
            choices=tuple(_text(choice) for choice in document.get("choices", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TaskFileError(f"{path}: {type(error).__name__}: {error}") from error
    if not task.cases:
        raise TaskFileError(f"{path}: no inputs")
    return task


def _describe(request: Mapping[str, Any]) -> TaskDescription:
    return TaskDescription(
        description=_text(request.get("description", "")),
        examples=tuple(Example(_text(e["input"]), _text(e["output"])) for e in request.get("examples", ())),
        tools=_tools(request.get("tools", ())),
        output_format=_text(request.get("output_format", "")),
    )


def _tools(tools: Sequence[Mapping[str, Any]]) -> tuple[Tool, ...]:
    functions = [tool["function"] for tool in tools]
    return tuple(
        Tool(
            name=_text(function["name"]),
            description=_text(function.get("description", "")),
            parameters=tuple(function.get("parameters", {}).get("properties", {})),
        )
        for function in functions
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {value!r}")
    return value
