"""What all request bodies have in common."""

import pytest
from pydantic import ValidationError

from cloud_service.body import Body, Number, Whole


class _Named(Body):
    name: str = "none"


class _Counted(Body):
    count: Whole = 0
    share: Number = 0.0


def test_number_is_neither_a_text_nor_true() -> None:
    assert _Counted.model_validate({"count": 3.0, "share": 1}) == _Counted(count=3, share=1.0)
    for field in ("count", "share"):
        for value in ("3", True, False, [3]):
            with pytest.raises(ValidationError, match=field):
                _Counted.model_validate({field: value})
    for fields in ({"count": 3.5}, {"share": float("inf")}, {"share": float("nan")}):
        with pytest.raises(ValidationError):
            _Counted.model_validate(fields)


def test_null_is_the_same_as_leaving_out() -> None:
    assert _Named.model_validate({"name": None, "other": None}).name == "none"


def test_unknown_fields_are_refused_and_very_many_at_once() -> None:
    for fields, found in (({"other": 1}, "other"), (dict.fromkeys(map(str, range(17)), 1), "at most 16 items")):
        with pytest.raises(ValidationError, match=found):
            _Named.model_validate(fields)
    with pytest.raises(ValidationError):
        _Named.model_validate([])
