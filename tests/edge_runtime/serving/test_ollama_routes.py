"""Ollama's routes: answers stream unless they are not to, one without a prompt loads, and what serves is listed."""

import json
from typing import Any

import httpx2
import pytest

from edge_runtime.serving.slots import SlotTable
from loragen.version import package_version

CHAT: dict[str, Any] = {"model": "router", "messages": [{"role": "user", "content": "hi"}]}


async def test_answer_is_a_stream_of_lines_unless_it_is_not_to_be(client: httpx2.AsyncClient) -> None:
    streamed = await client.post("/api/chat", json=CHAT)
    assert streamed.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in streamed.text.splitlines()]
    assert [line["done"] for line in lines] == [*[False] * (len(lines) - 1), True]
    whole = (await client.post("/api/chat", json=CHAT | {"stream": False})).json()
    assert whole["message"] == {"role": "assistant", "content": "call get_weather now "}
    assert "".join(line["message"]["content"] for line in lines) == whole["message"]["content"]


async def test_generate_answers_a_prompt_under_its_own_field(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/generate", json={"model": "base", "prompt": "hi", "stream": False})
    assert answer.json()["response"] == "plain words "
    assert "message" not in answer.json()


@pytest.mark.parametrize(("path", "empty"), [("/api/chat", {"messages": []}), ("/api/generate", {})])
async def test_request_without_a_prompt_loads_or_unloads(
    client: httpx2.AsyncClient, slots: SlotTable, path: str, empty: dict[str, Any]
) -> None:
    body = {"model": "router", **empty}
    for change, reason in (({}, "load"), ({"keep_alive": 0}, "unload"), ({"keep_alive": "5m"}, "load")):
        answer = await client.post(path, json=body | change)
        assert (answer.status_code, answer.json()["done_reason"]) == (200, reason)
        assert slots.is_resident("router") == (reason == "load")


async def test_tags_are_the_models_that_serve(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/api/tags")).json()["models"]
    assert [model["name"] for model in listed] == ["org/Tiny-Edge", "router"], "`late` is pending"


async def test_version_is_that_of_this_runtime(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/version")).json() == {"version": package_version()}
