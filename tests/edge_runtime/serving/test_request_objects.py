"""Objects of requests: null is the same as nothing, and there are so many fields and no more."""

import pytest
from pydantic import ValidationError

from edge_runtime.serving.request_objects import MAX_FIELDS, Fields, OpenFields
from edge_runtime.serving.schemas import ChatCompletionBody, CompletionBody


class _Body(Fields):
    must: int
    may: int = 3


class _Open(OpenFields):
    may: int = 3


def test_null_is_what_leaving_out_is() -> None:
    assert _Body.model_validate({"must": 1, "may": None}) == _Body(must=1)
    with pytest.raises(ValidationError, match="required"):
        _Body.model_validate({"must": None})
    assert _Open.model_validate({"other": None}).model_extra == {}
    assert _Open.model_validate({"other": 0}).model_extra == {"other": 0}


@pytest.mark.parametrize("value", ["1", True, 1.5, float("inf"), [1]])
def test_number_is_neither_a_text_nor_true(value: object) -> None:
    with pytest.raises(ValidationError, match="must"):
        _Body.model_validate({"must": value})
    assert _Body.model_validate({"must": 1.0}).must == 1


@pytest.mark.parametrize(
    ("field", "value"), [("temperature", True), ("temperature", "0.5"), ("stream", "yes"), ("n", "1")]
)
def test_completion_with_a_value_of_another_type_is_refused(field: str, value: object) -> None:
    for body, more in (
        (CompletionBody, {"prompt": "x"}),
        (ChatCompletionBody, {"messages": [{"role": "user", "content": "x"}]}),
    ):
        with pytest.raises(ValidationError, match=field):
            body.model_validate({"model": "base", **more, field: value})


def test_fields_are_bounded() -> None:
    assert _Open.model_validate({f"f{number}": 1 for number in range(MAX_FIELDS)})
    with pytest.raises(ValidationError):
        _Open.model_validate({f"f{number}": 1 for number in range(MAX_FIELDS + 1)})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValidationError):
        _Body.model_validate([("must", 1)])
