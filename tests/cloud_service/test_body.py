"""What all request bodies have in common."""

import pytest
from pydantic import ValidationError

from cloud_service.body import Body


class _Named(Body):
    name: str = "none"


def test_null_is_the_same_as_leaving_out() -> None:
    assert _Named.model_validate({"name": None, "other": None}).name == "none"


def test_unknown_fields_are_refused_and_very_many_at_once() -> None:
    for fields, found in (({"other": 1}, "other"), (dict.fromkeys(map(str, range(17)), 1), "at most 16 items")):
        with pytest.raises(ValidationError, match=found):
            _Named.model_validate(fields)
    with pytest.raises(ValidationError):
        _Named.model_validate([])
