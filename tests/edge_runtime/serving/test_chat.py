"""Variables of a chat template: what a client may set, and which of two values counts."""

import json
from typing import Any

import pytest

from edge_runtime.serving.chat import MAX_VARIABLE_CHARACTERS, MAX_VARIABLES, Rendering, verify_variables


def test_variables_are_texts_numbers_and_truths() -> None:
    variables = {"enable_thinking": False, "a1": 2.5, "name": "x" * MAX_VARIABLE_CHARACTERS}
    assert verify_variables(variables) == variables


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ([], "expected an object"),
        ({f"v{number}": 1 for number in range(MAX_VARIABLES + 1)}, "expected an object"),
        ({"messages": "x"}, "not one of this server's"),
        ({"bos_token": "x"}, "not one of this server's"),
        ({"A": "x"}, "expected a name"),
        ({"a b": "x"}, "expected a name"),
        ({1: "x"}, "expected a name"),
        ({"a": []}, "expected a text, a number"),
        ({"a": None}, "expected a text, a number"),
        ({"a": "x" * (MAX_VARIABLE_CHARACTERS + 1)}, "at most 1024 characters"),
        ({"a": "\ud800"}, "valid"),
    ],
)
def test_variables_that_are_none_are_refused_by_name(variables: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verify_variables(variables)


def test_what_a_request_sets_wins_over_what_the_device_sets() -> None:
    rendering = Rendering(("tool",), '{"a": 1}').over({"a": 2, "b": 3})
    assert json.loads(rendering.variables) == {"a": 1, "b": 3}
    assert rendering.tools == ("tool",)
