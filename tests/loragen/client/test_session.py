"""Sending, sync and async: attempts, deadlines, and what the transport's faults become."""

import asyncio
from collections.abc import Callable

import httpx2
import pytest
import stamina

from loragen import AsyncCloudClient, ClientError, CloudClient, DeviceClient, RemoteError
from loragen.client.errors import WaitError
from tests.loragen.client.scripted import Scripted, refused

DEVICES = httpx2.Response(200, json={"devices": []})


def devices(transport: Scripted) -> object:
    with CloudClient("http://cloud", transport=transport) as cloud:
        return cloud.devices("kitchen").devices


def devices_async(transport: Scripted) -> object:
    async def ask() -> object:
        async with AsyncCloudClient("http://cloud", transport=transport) as cloud:
            return (await cloud.devices("kitchen")).devices

    return asyncio.run(ask())


@pytest.fixture(params=[devices, devices_async])
def ask(request: pytest.FixtureRequest) -> Callable[[Scripted], object]:
    """One call that may be repeated, sync and async."""
    asked: Callable[[Scripted], object] = request.param
    return asked


@pytest.mark.parametrize(
    "fault",
    [
        refused(503, "draining", {"retry-after": "1"}),
        refused(429, "overloaded"),
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("slow"),
        httpx2.RemoteProtocolError("gone"),
        httpx2.ReadError("gone"),
    ],
)
def test_call_is_repeated_after_what_passes(ask: Callable[[Scripted], object], fault: httpx2.Response) -> None:
    transport = Scripted(fault, fault, DEVICES)
    assert ask(transport) == ()
    assert len(transport.requests) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (refused(422, "invalid_request"), "invalid_request"),
        (refused(500, "internal", {"retry-after": "1"}), "internal"),
        (httpx2.Response(502, text="<html>a proxy</html>"), "unexpected_answer"),
        (httpx2.Response(204), "unexpected_answer"),
        (httpx2.ReadTimeout("slow"), "timeout"),
        (refused(503, "draining", {"retry-after": "301"}), "draining"),
    ],
)
def test_call_is_not_repeated_after_what_stays(
    ask: Callable[[Scripted], object], fault: httpx2.Response, code: str
) -> None:
    transport = Scripted(fault)
    with pytest.raises(RemoteError) as caught:
        ask(transport)
    assert caught.value.code == code
    assert len(transport.requests) == 1


def test_attempts_are_bounded(ask: Callable[[Scripted], object]) -> None:
    transport = Scripted(*[refused(503, "overloaded", {"retry-after": "0"})] * 9)
    with pytest.raises(RemoteError) as caught:
        ask(transport)
    assert caught.value.code == "overloaded"
    assert len(transport.requests) == 5


def test_one_attempt_may_be_all() -> None:
    transport = Scripted(httpx2.ConnectError("refused"))
    with CloudClient("http://cloud", attempts=1, transport=transport) as cloud, pytest.raises(RemoteError):
        cloud.devices("kitchen")


def test_pause_is_as_long_as_the_service_asks(ask: Callable[[Scripted], object]) -> None:
    """With real pauses: one that passes, and none at all where it would end after the deadline."""
    with stamina.set_testing(False):
        assert ask(Scripted(refused(503, "draining", {"retry-after": "0"}), DEVICES)) == ()


def test_stream_is_repeated_until_it_begins() -> None:
    events = 'data: {"choices":[{"delta":{"content":"a"},"finish_reason":null}]}\n\ndata: [DONE]\n\n'
    transport = Scripted(refused(503, "starting"), httpx2.ConnectError("no"), httpx2.Response(200, text=events))
    with DeviceClient("http://device", transport=transport) as device:
        assert [chunk.text for chunk in device.stream_chat("base", "hi")] == ["a"]
    with (
        DeviceClient("http://device", transport=Scripted(refused(404, "unknown_model"))) as device,
        pytest.raises(RemoteError, match="unknown_model"),
    ):
        list(device.stream_chat("none", "hi"))


def test_answer_that_may_not_be_asked_twice_is_not() -> None:
    transport = Scripted(httpx2.ReadError("gone"))
    with DeviceClient("http://device", transport=transport) as device, pytest.raises(RemoteError) as caught:
        device.chat("base", "hi")
    assert caught.value.code == "disconnected"


def test_readiness_has_the_reason_of_a_service_of_a_proxy_and_of_none() -> None:
    answers = (
        httpx2.Response(200, json={"status": "ready"}),
        refused(503, "draining"),
        httpx2.Response(503, text="<h1>no upstream</h1>"),
        httpx2.ConnectError("refused"),
    )
    with CloudClient("http://cloud", transport=Scripted(*answers)) as cloud:
        found = [cloud.readiness() for _ in answers]
    assert [readiness.ready for readiness in found] == [True, False, False, False]
    for readiness, reason in zip(found[1:], ("it is draining", "no error body", "ConnectError"), strict=True):
        assert reason in readiness.reason


async def test_wait_until_ready_ends_with_readiness_or_the_reason_why_not() -> None:
    ready = httpx2.Response(200, json={"status": "ready"})
    with CloudClient("http://cloud", transport=Scripted(refused(503, "draining"), ready)) as cloud:
        cloud.wait_until_ready()
    with (
        CloudClient("http://cloud", transport=Scripted(refused(503, "draining"))) as cloud,
        pytest.raises(WaitError, match="it is draining"),
    ):
        cloud.wait_until_ready(0)
    async with AsyncCloudClient("http://cloud", transport=Scripted(refused(503, "draining"), ready)) as waiting:
        await waiting.wait_until_ready()
    async with AsyncCloudClient("http://cloud", transport=Scripted(refused(503, "draining"))) as waiting:
        with pytest.raises(WaitError, match="it is draining"):
            await waiting.wait_until_ready(0)


@pytest.mark.parametrize("url", ["", "127.0.0.1:8080", "ftp://cloud", "http://cloud:port", "http://"])
def test_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ClientError, match="expected a URL"):
        CloudClient(url)
