"""Questions of BFCL, and which calls are right."""

import json
from pathlib import Path
from typing import Any

import pytest

from loragen.contract.json_schema import canonical_parameters
from training.evaluation.bfcl_questions import BfclQuestion, is_accepted, load_bfcl_questions

PARAMETERS = {
    "type": "dict",
    "properties": {
        "base": {"type": "integer", "description": "Of the triangle.", "optional": True, "default": 1},
        "height": {"type": "float"},
        "unit": {"type": "string"},
        "points": {"type": "tuple", "items": {"type": "integer"}},
        "more": {"type": "dict", "properties": {"a": {"type": "boolean"}}},
        "any": {"type": "any"},
    },
    "required": ["base", "height"],
}
LINE = {
    "id": "simple_python_0",
    "question": [[{"role": "user", "content": "How large?"}]],
    "function": [{"name": "triangle.area", "description": "Area.", "parameters": PARAMETERS}],
}
TRUTH = {
    "base": [10],
    "height": [5, 5.5],
    "unit": ["square units", ""],
    "points": ["", [1, 2]],
    "more": ["", {"a": [True]}],
    "any": ["", 1, "x"],
}


def write(folder: Path, questions: list[Any], answers: list[Any]) -> Path:
    (folder / "possible_answer").mkdir(exist_ok=True)
    for path, lines in ((folder, questions), (folder / "possible_answer", answers)):
        (path / "BFCL_v4_simple_python.json").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def question(tmp_path: Path) -> BfclQuestion:
    folder = write(tmp_path, [LINE], [{"id": LINE["id"], "ground_truth": [{"triangle.area": TRUTH}]}])
    (found,) = load_bfcl_questions(folder, "simple", 20, 0)
    return found


def test_schema_is_one_that_a_device_can_hold(question: BfclQuestion) -> None:
    assert question.text == "How large?"
    parameters = question.tools[0]["function"]["parameters"]
    assert json.loads(canonical_parameters(parameters))["properties"]["height"] == {"type": "number"}


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({}, True),
        ({"height": 5.5}, True),
        ({"unit": "Square-Units."}, True),
        ({"points": [1, 2], "more": {"a": True}, "any": "X"}, True),
        ({"base": 11}, False),
        ({"base": 10.0}, False),
        ({"base": True}, False),
        ({"base": "10"}, False),
        ({"unit": "metres"}, False),
        ({"points": [1]}, False),
        ({"points": [1, 2, 3]}, False),
        ({"more": {"a": False}}, False),
        ({"more": {"b": True}}, False),
        ({"any": True}, False),
        ({"other": 1}, False),
        ({"height": None}, False),
    ],
)
def test_call_is_right_by_the_accepted_values(question: BfclQuestion, change: dict[str, Any], right: bool) -> None:
    arguments = json.dumps({"base": 10, "height": 5} | change)
    assert is_accepted(question, "triangle.area", arguments) is right
    assert not is_accepted(question, "other", arguments)


@pytest.mark.parametrize("arguments", ["", "[]", '{"base": 10}', '{"base": 10, "height": 5', "[" * 10_000])
def test_what_is_no_call_or_leaves_something_out_is_wrong(question: BfclQuestion, arguments: str) -> None:
    assert not is_accepted(question, "triangle.area", arguments)


def test_sample_repeats(tmp_path: Path) -> None:
    lines = [LINE | {"id": str(number)} for number in range(9)]
    folder = write(tmp_path, lines, [{"id": line["id"], "ground_truth": [{"triangle.area": TRUTH}]} for line in lines])
    first, again, other = (load_bfcl_questions(folder, "simple", 4, seed) for seed in (0, 0, 1))
    assert first == again != other
    assert len(load_bfcl_questions(folder, "simple", 50, 0)) == 9


@pytest.mark.parametrize("line", [{}, LINE | {"question": []}, LINE | {"function": [{}]}, LINE | {"id": "unknown"}])
def test_file_of_another_form_is_refused(tmp_path: Path, line: Any) -> None:
    folder = write(tmp_path, [line], [{"id": LINE["id"], "ground_truth": [{"triangle.area": TRUTH}]}])
    with pytest.raises(ValueError, match="BFCL v4"):
        load_bfcl_questions(folder, "simple", 1, 0)
