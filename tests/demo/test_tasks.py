"""Task files: what the demo reads."""

import json
from pathlib import Path

import pytest

from demo.tasks import TaskFileError, load_task, load_tasks


def write_task(directory: Path, name: str = "echo", **changes: object) -> Path:
    request = {
        "description": "Say it back.",
        "examples": [{"input": "a", "output": "b"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "echo",
                    "description": "Repeats",
                    "parameters": {"type": "object", "properties": {"text": {}, "times": {}}},
                },
            }
        ],
        "output_format": "text",
    }
    document = {"name": name, "request": request, "inputs": [{"input": "x", "output": "y"}], **changes}
    path = directory / f"{name}.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_prompt_renders_every_part_of_the_request(tmp_path: Path) -> None:
    task = load_task(write_task(tmp_path))
    assert task.prompt == (
        "Say it back.\n\nTools:\n- echo(text, times): Repeats\n\nExamples:\nInput: a\nOutput: b\n\nOutput format: text"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": []},
        {"inputs": [{"input": "x"}]},
        {"inputs": [{"input": 1, "output": "y"}]},
        {"request": "text"},
        {"request": {"tools": [{"type": "function"}]}},
        {"max_tokens": "many"},
        {"choices": [1]},
    ],
)
def test_file_that_is_not_a_task_is_named_in_the_error(tmp_path: Path, changes: dict[str, object]) -> None:
    path = write_task(tmp_path, **changes)
    with pytest.raises(TaskFileError, match=r"echo\.json"):
        load_task(path)


def test_file_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(TaskFileError, match=r"broken\.json"):
        load_tasks(tmp_path)


def test_directory_without_tasks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="no task files"):
        load_tasks(tmp_path)


def test_two_tasks_of_one_name_are_an_error(tmp_path: Path) -> None:
    write_task(tmp_path).rename(tmp_path / "first.json")
    write_task(tmp_path)
    with pytest.raises(TaskFileError, match="repeat"):
        load_tasks(tmp_path)


def test_shipped_tasks_are_at_least_three_that_show_tools_and_examples() -> None:
    tasks = load_tasks()
    assert len(tasks) >= 3
    assert any(task.request.get("tools") for task in tasks)
    assert any(task.request.get("examples") for task in tasks)
