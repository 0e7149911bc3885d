"""The demo's HTTP clients against hand-written services."""

import json
from collections.abc import Callable

import httpx2
import pytest

from demo.clients import CloudClient, DeviceClient
from demo.errors import ServiceError, WaitError


def transport(handler: Callable[[httpx2.Request], httpx2.Response]) -> httpx2.MockTransport:
    return httpx2.MockTransport(handler)


def device_with(entry: dict[str, object]) -> DeviceClient:
    return DeviceClient("http://device", transport(lambda _: httpx2.Response(200, json={"data": [entry]})))


MERGED = {
    "id": "router",
    "state": "merged",
    "bundle_id": "b1",
    "merge_seconds": 0.5,
    "retained_delta": 0.97,
    "message": "",
}


def test_generate_sends_the_request_and_where_to_publish() -> None:
    bodies = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        answer = {"id": "b1", "bundle_bytes": 9, "recipe_bytes": 3, "cached": False, "timings": {"generate_ms": 12.5}}
        return httpx2.Response(200, json=answer)

    with CloudClient("http://cloud", transport(handle)) as cloud:
        generated = cloud.generate({"description": "d"}, "demo", "router")
    assert bodies == [{"description": "d", "publish": {"channel": "demo", "name": "router"}}]
    assert (generated.bundle_id, generated.generate_ms) == ("b1", 12.5)


def test_error_body_reaches_the_reader() -> None:
    body = {"error": {"code": "x", "message": "description is empty", "hint": "write one", "request_id": "r"}}
    with (
        CloudClient("http://cloud", transport(lambda _: httpx2.Response(422, json=body))) as cloud,
        pytest.raises(ServiceError, match=r"422: description is empty \(write one\)"),
    ):
        cloud.generate({}, "demo", "router")


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"id": "b", "timings": null}'])
def test_unexpected_answer_is_a_service_error(text: str) -> None:
    with (
        CloudClient("http://cloud", transport(lambda _: httpx2.Response(200, text=text))) as cloud,
        pytest.raises(ServiceError, match="cloud service at"),
    ):
        cloud.generate({}, "demo", "router")


def test_wait_ends_when_the_wanted_bundle_is_merged() -> None:
    with device_with(MERGED) as device:
        merged = device.wait_until_merged("router", "b1", timeout_seconds=0)
    assert (merged.merge_seconds, merged.delta_retained_delta) == (0.5, 0.97)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"state": "adapter", "message": "merging"}, "adapter: merging"),
        ({"bundle_id": "old"}, "bundle old"),
        ({"id": "other"}, "absent"),
    ],
)
def test_wait_that_runs_out_tells_how_far_the_device_got(change: dict[str, object], seen: str) -> None:
    with device_with({**MERGED, **change}) as device, pytest.raises(WaitError, match=seen):
        device.wait_until_merged("router", "b1", timeout_seconds=0)


def test_answer_is_greedy_and_carries_the_prompt_only_when_given() -> None:
    bodies = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        bodies.append(json.loads(request.content))
        answer = {"choices": [{"message": {"content": " ok"}}], "usage": {"prompt_tokens": 4}}
        return httpx2.Response(200, json=answer)

    with DeviceClient("http://device", transport(handle)) as device:
        answer = device.answer("router", "hi", 8)
        device.answer("base", "hi", 8, system="prompt")
    assert (answer.text, answer.prompt_tokens) == (" ok", 4)
    assert [body["temperature"] for body in bodies] == [0, 0]
    assert [[message["role"] for message in body["messages"]] for body in bodies] == [["user"], ["system", "user"]]


def test_unreachable_service_is_not_ready() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with CloudClient("http://cloud", transport(refuse)) as cloud:
        assert not cloud.is_ready()
