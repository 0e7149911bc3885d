"""A body of any kind costs little to refuse: few faults are made, however many keys it has."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.schemas import GenerateLoraBody

BAD_KEYS = {f"a b{number}": 1 for number in range(1000)}
FUNCTION = {"name": "find", "parameters": {"properties": BAD_KEYS}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "at most 64 items, found 1000"),
        (BAD_KEYS, "at most 16 items, found 1000"),
        ({"examples": [BAD_KEYS]}, "at most 16 items, found 1000"),
        ({"description": "a", "publish": BAD_KEYS}, "at most 16 items, found 1000"),
        ({"description": "a", "probe": [1] * 1000}, "at most 32 items"),
    ],
    ids=["properties", "body", "example", "publish", "probe"],
)
def test_body_with_very_many_keys_is_one_fault(body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        GenerateLoraBody.model_validate(body)
    assert caught.value.error_count() == 1
