"""Objects of requests: null is the same as nothing, and there are so many fields and no more."""

import pytest
from pydantic import ValidationError

from edge_runtime.serving.request_objects import MAX_FIELDS, Fields, OpenFields


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


def test_fields_are_bounded() -> None:
    assert _Open.model_validate({f"f{number}": 1 for number in range(MAX_FIELDS)})
    with pytest.raises(ValidationError):
        _Open.model_validate({f"f{number}": 1 for number in range(MAX_FIELDS + 1)})


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValidationError):
        _Body.model_validate([("must", 1)])
