"""Fields that are accepted although nothing is done with them."""

from typing import Any

import pytest

from edge_runtime.errors import InvalidRequestError
from edge_runtime.serving.neutral_fields import (
    MESSAGE,
    REQUEST,
    REQUEST_HINTS,
    RESPONSES,
    RESPONSES_HINTS,
    verify_neutral,
)


@pytest.mark.parametrize(
    ("field", "neutral", "other"),
    [
        ("user", ["me", {}, 0], []),
        ("metadata", [{"a": "b"}], []),
        ("echo", [False], [True, 0]),
        ("best_of", [1], [2, True]),
        ("functions", [[]], [[{"name": "f"}]]),
        ("modalities", [["text"]], [["text", "audio"]]),
        ("reasoning_effort", ["none"], ["low"]),
        ("length_penalty", [1, 1.0], [0.5]),
        ("skip_special_tokens", [True], [False, 1]),
        ("typical_p", [1.0], [0.5]),
        ("mirostat", [0], [2]),
        *((name, [], [0, "", [], {}, True]) for name in ("grammar", "json_schema", "n_predict", "format", "options")),
        *((name, [], [0, "", [], {}, True]) for name in ("stop_sequences", "lora", "max_new_tokens", "guided_json")),
        ("xtc_probability", [0], [0.5]),
        ("dry_multiplier", [0], [0.8]),
        ("unheard_of", [], [0, "", []]),
    ],
)
def test_what_may_change_the_answer_is_refused_by_name(field: str, neutral: list[Any], other: list[Any]) -> None:
    """And let through where it says what happens anyway."""
    for value in neutral:
        verify_neutral({field: value}, REQUEST)
    for value in other:
        with pytest.raises(InvalidRequestError, match=f"'{field}' is not supported") as caught:
            verify_neutral({field: value}, REQUEST)
        assert caught.value.code == "unsupported_parameter"


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("n_predict", "'max_tokens'"),
        ("stop_sequences", "'stop'"),
        ("grammar", "'response_format'"),
        ("guided_choice", "'structured_outputs'"),
        ("mirostat", "'temperature'"),
        ("reasoning_effort", "'chat_template_kwargs'"),
        ("lora", "'model'"),
        ("unheard_of", "leave it out"),
    ],
)
def test_refusal_says_what_to_do_instead(field: str, hint: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        verify_neutral({field: "x"}, REQUEST, REQUEST_HINTS)
    assert hint in caught.value.hint


def test_responses_say_that_nothing_is_stored() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        verify_neutral({"previous_response_id": "resp_1"}, RESPONSES, RESPONSES_HINTS)
    assert "send the whole conversation" in caught.value.hint


def test_fields_of_a_message_are_their_own() -> None:
    verify_neutral({"name": "bot", "annotations": [], "refusal": ""}, MESSAGE)
    verify_neutral(None, MESSAGE)
    for field in ("function_call", "audio", "temperature"):
        with pytest.raises(InvalidRequestError, match=field):
            verify_neutral({field: {}}, MESSAGE)


def test_name_of_a_field_does_not_reach_the_log_as_it_is() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        verify_neutral({"a\n" + "x" * 500: 1}, REQUEST)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
