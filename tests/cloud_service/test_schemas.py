"""A body of any kind costs little to refuse: few faults are made, however many keys it has."""

from typing import Any

import pytest
from pydantic import ValidationError

from cloud_service.grpc.servicers import _to_body
from cloud_service.schemas import GenerateLoraBody
from loragen.contract.stubs import loragen_pb2 as pb

BAD_KEYS = {f"a b{number}": 1 for number in range(1000)}
FUNCTION = {"name": "find", "parameters": {"properties": BAD_KEYS}}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "at most 64 items, found 1000"),
        (BAD_KEYS, "at most 16 items, found 1000"),
        ({"examples": [BAD_KEYS]}, "at most 16 items, found 1000"),
        ({"description": "a", "publish": BAD_KEYS}, "at most 16 items, found 1000"),
        ({"description": "a", "probe": [1] * 1000}, "at most 32 items"),
    ],
    ids=["properties", "body", "example", "publish", "probe"],
)
def test_body_with_very_many_keys_is_one_fault(body: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told) as caught:
        GenerateLoraBody.model_validate(body)
    assert caught.value.error_count() == 1


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (pb.GenerateLoraRequest(examples=[pb.Example()] * 1000), "at most 64 items"),
        (pb.GenerateLoraRequest(tools=[pb.Tool(name="a")] * 1000), "at most 64 items"),
        (pb.GenerateLoraRequest(description="a", probe=[pb.Example()] * 1000), "at most 32 items"),
    ],
)
def test_message_with_very_many_items_is_refused_without_a_copy_of_each(
    request_: pb.GenerateLoraRequest, told: str
) -> None:
    body = _to_body(request_)
    assert sum(len(body[part]) for part in ("examples", "tools", "probe")) <= 65
    with pytest.raises(ValidationError, match=told):
        GenerateLoraBody.model_validate(body)
