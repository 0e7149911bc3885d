"""Every call of a device, against its HTTP interface."""

import json
from typing import Any

import httpx2
import pytest

from loragen import AsyncDeviceClient, DeviceClient, RemoteError
from loragen.client.device_calls import find_serving
from loragen.device_answers import ServedAnswer, ServedModel
from tests.edge_runtime.contracts import CALLS, DESKS
from tests.edge_runtime.fakes import FakeLoader, without_weights
from tests.edge_runtime.serving.fake_device import BUNDLE, FakeDevice
from tests.loragen.client.scripted import Scripted


async def test_models_and_status_are_as_the_device_says(device: AsyncDeviceClient) -> None:
    base, router, late = await device.models()
    assert (base.state, router.state, late.state) == ("base", "merged", "pending")
    assert (base.answer, router.answer) == (ServedAnswer("text"), ServedAnswer("choice", ("get_weather", "none")))
    assert (router.bundle_id, router.retained_delta, router.merge_seconds) == (BUNDLE, 0.98, 0.5)
    assert await device.model("router") == router
    assert (await device.model("org/Tiny-Edge")) == base
    status = await device.status()
    assert (status.device_id, status.ready, status.models) == ("dev", True, (base, router, late))
    with pytest.raises(RemoteError) as caught:
        await device.model("none")
    assert caught.value.status == 404


async def test_chat_and_completion_answer_whole_or_in_pieces(device: AsyncDeviceClient) -> None:
    whole = await device.chat("router", "hi", system="prompt", temperature=0, max_tokens=3)
    assert whole.text.strip() == "call get_weather now"
    assert (whole.usage.completion_tokens, without_weights(whole.fingerprint)) == (3, f"merged-{BUNDLE}")
    chunks = [chunk async for chunk in device.stream_chat("router", "hi", max_tokens=3)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == [whole.finish_reason]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    text = await device.complete("base", [1, 2], max_tokens=2)
    pieces = [chunk.text async for chunk in device.stream_complete("base", [1, 2], max_tokens=2)]
    assert text.text == "".join(pieces)
    assert text.usage.prompt_tokens == 2


async def test_contract_of_a_specialization_holds_unless_it_is_not_wanted(
    device: AsyncDeviceClient, loader: FakeLoader
) -> None:
    loader.engines[1].answer = DESKS
    sure = await device.chat("router", "hi", choice_probabilities=True)
    assert (sure.text, sure.choice_probabilities) == ("billing", dict.fromkeys(DESKS.choices, 1 / 3))
    text = await device.complete("router", "hi")
    assert (text.text, text.choice_probabilities) == ("billing", None)
    free = await device.complete("router", "hi", constrain=False)
    assert free.text.strip() == "call get_weather now"
    with pytest.raises(RemoteError, match="choice_probabilities"):
        await device.chat("base", "hi", choice_probabilities=True)


async def test_answer_that_is_a_call_has_no_text(device: AsyncDeviceClient, loader: FakeLoader) -> None:
    loader.engines[1].answer = CALLS
    loader.engines[1].words = [b' {"unit": "km"}']
    answer = await device.chat("router", "hi")
    (call,) = answer.tool_calls
    assert (answer.text, call.name, call.arguments) == ("", "find", '{"unit": "km"}')


async def test_refusals_are_the_devices_own(device: AsyncDeviceClient) -> None:
    for refused in (device.chat("none", "hi"), device.complete("base", "hi", temperature=9)):
        with pytest.raises(RemoteError) as caught:
            await refused
        assert caught.value.hint
    with pytest.raises(RemoteError) as caught:
        await device.chat("late", "hi")
    assert (caught.value.code, caught.value.status) == ("not_ready", 503)


async def test_device_that_starts_is_not_ready(device: AsyncDeviceClient, fake_device: FakeDevice) -> None:
    assert (await device.readiness()).ready
    fake_device.reason = "the device is starting"
    assert "the device is starting" in (await device.readiness()).reason


def test_request_says_what_was_asked_for_and_no_more() -> None:
    answer = {"choices": [{"message": {"content": " ok"}, "finish_reason": "stop"}]}
    whole = {**answer, "usage": {"prompt_tokens": 4, "completion_tokens": 1}}
    transport = Scripted(*[httpx2.Response(200, json=whole)] * 2)
    with DeviceClient("http://device", transport=transport) as device:
        found = device.chat("router", "hi")
        device.chat("base", [{"role": "user", "content": "hi"}], system="prompt", temperature=0, choices=["a", "b"])
    assert (found.text, found.usage.prompt_tokens, found.usage.cached_tokens) == (" ok", 4, 0)
    plain, guided = (json.loads(request.content) for request in transport.requests)
    assert plain == {"model": "router", "messages": [{"role": "user", "content": "hi"}]}
    assert [message["role"] for message in guided["messages"]] == ["system", "user"]
    assert (guided["temperature"], guided["structured_outputs"]) == (0, {"choice": ["a", "b"]})


@pytest.mark.parametrize(
    ("change", "merged", "serves", "seen"),
    [
        ({}, True, True, "merged"),
        ({"state": "adapter"}, False, True, "adapter"),
        ({"state": "adapter", "message": "merging"}, True, False, "adapter with bundle b1: merging"),
        ({"bundle_id": "old"}, False, False, "bundle old"),
        ({"state": "failed"}, False, False, "failed"),
        ({"id": "other"}, True, False, "does not know"),
    ],
)
def test_model_serves_when_it_has_the_name_the_bundle_and_the_state(
    change: dict[str, str], merged: bool, serves: bool, seen: str
) -> None:
    values: dict[str, Any] = {"id": "router", "state": "merged", "bundle_id": "b1", **change}
    model = ServedModel(**values)
    found, words = find_serving([model], "router", "b1", merged=merged)
    assert (found is model) is serves
    assert seen in words


def test_the_recipe_of_a_bundle_stands_for_it() -> None:
    model = ServedModel("router", "merged", "b1", recipe_id="r1")
    assert find_serving([model], "router", "r1", merged=True)[0] is model
    assert find_serving([model], "router", "r2", merged=True)[0] is None
