"""The demo's tasks in the repository ask for what the script that made them asks for; its data are not here."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(root: Path) -> ModuleType:
    """scripts/demo_tasks.py."""
    spec = importlib.util.spec_from_file_location("demo_tasks", root / "scripts" / "demo_tasks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stored(root: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((root / f"demo/tasks/{name}.json").read_text()))


def test_tools_are_those_of_the_script(script: ModuleType, root: Path) -> None:
    router, calls = _stored(root, "tool-router"), _stored(root, "function-call")
    assert router["choices"] == list(script.TOOLS)
    assert router["request"]["tools"] == [script._tool(name, *rest) for name, rest in script.TOOLS.items()]
    assert calls["request"]["tools"] == [
        script._tool(name, text, [*parameters.values()]) for name, (text, parameters) in script.FUNCTIONS.items()
    ]
    for each in calls["inputs"]:
        call = json.loads(each["output"])
        _, parameters = script.FUNCTIONS[call["name"]]
        assert call["arguments"].keys() <= set(parameters.values())


@pytest.mark.parametrize("name", ["tool-router", "news-topic", "city-extraction", "function-call"])
def test_inputs_are_as_many_and_as_different_as_the_script_draws(script: ModuleType, root: Path, name: str) -> None:
    inputs = _stored(root, name)["inputs"]
    assert len({each["input"] for each in inputs}) == script.INPUTS


def test_inputs_are_chosen_by_the_task_alone(script: ModuleType) -> None:
    pairs = [(f"text {number}", "a") for number in range(100)]
    first, again, other = (script._task(name, {"description": "x"}, pairs, ("a",)) for name in ("x", "x", "y"))
    assert first == again
    assert first["inputs"] != other["inputs"]
    assert (first["choices"], first["max_tokens"]) == (["a"], 16)
    assert "choices" not in script._task("x", {}, pairs)
