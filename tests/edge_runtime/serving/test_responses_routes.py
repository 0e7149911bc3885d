"""OpenAI's responses: whole or as events, with what was asked for repeated, and with an id of its own each."""

import json

import httpx2

from tests.edge_runtime.serving.fake_device import BUNDLE
from tests.edge_runtime.serving.wire import events

ASKED = {"model": "router", "input": "hi", "temperature": 0.5, "instructions": "Be short."}


async def test_whole_response_repeats_what_was_asked_for(client: httpx2.AsyncClient) -> None:
    first, second = [(await client.post("/v1/responses", json=ASKED)).json() for _ in range(2)]
    assert first["object"] == "response"
    assert {field: first[field] for field in ("model", "temperature", "instructions")} == {
        field: ASKED[field] for field in ("model", "temperature", "instructions")
    }
    assert "input" not in first
    assert first["output"][0]["content"][0]["text"] == "call get_weather now "
    assert first["id"] != second["id"]


async def test_request_is_repeated_even_where_it_has_half_of_a_surrogate_pair(client: httpx2.AsyncClient) -> None:
    """A schema's descriptions are not looked at, and a response repeats them."""
    schema = {"type": "object", "description": "\ud83d"}
    asked = ASKED | {"text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}
    for stream in (False, True):
        body = json.dumps(asked | {"stream": stream})
        answer = await client.post("/v1/responses", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 200
        assert r"\ud83d" in answer.text
        assert "internal_error" not in answer.text


async def test_stream_ends_with_the_response(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/responses", json=ASKED | {"stream": True})
    data = [line.split("data: ", 1)[1] for line in answer.text.split("\n\n") if "data: " in line]
    found = events("\n\n".join(f"data: {line}" for line in data))
    assert found[0]["type"] == "response.created"
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "call get_weather now "
    assert BUNDLE in str(found[-1]["response"])


async def test_unknown_model_is_refused_before_a_stream_begins(client: httpx2.AsyncClient) -> None:
    for stream in (False, True):
        answer = await client.post("/v1/responses", json=ASKED | {"model": "nobody", "stream": stream})
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"
