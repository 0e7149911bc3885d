"""Waiting for a specialization."""

import httpx2
import pytest

from loragen import AsyncDeviceClient, DeviceClient
from loragen.client.errors import WaitError
from tests.loragen.client.scripted import Scripted

MERGED = {"id": "router", "state": "merged", "bundle_id": "b1", "merge_seconds": 0.5, "retained_delta": 0.97}


def models(*entries: dict[str, object]) -> httpx2.Response:
    return httpx2.Response(200, json={"object": "list", "data": entries})


async def test_wait_ends_when_the_bundle_is_merged_where_that_is_asked_for() -> None:
    answers = models(), models({**MERGED, "state": "adapter"}), models({**MERGED, "bundle_id": "old"}), models(MERGED)
    with DeviceClient("http://device", transport=Scripted(*answers)) as device:
        assert device.wait_until_serving("router", "b1", merged=True).retained_delta == 0.97
    async with AsyncDeviceClient("http://device", transport=Scripted(*answers)) as waiting:
        assert (await waiting.wait_until_serving("router", "b1", merged=True)).merge_seconds == 0.5


async def test_attached_at_run_time_is_enough_where_merged_is_not_asked_for() -> None:
    adapter = models({**MERGED, "state": "adapter"})
    with DeviceClient("http://device", transport=Scripted(adapter)) as device:
        assert device.wait_until_serving("router", "b1").state == "adapter"


async def test_wait_that_runs_out_says_how_far_the_device_came() -> None:
    failed = models({**MERGED, "state": "failed", "message": "the disk is full"})
    with DeviceClient("http://device", transport=Scripted(failed)) as device, pytest.raises(WaitError, match="full"):
        device.wait_until_serving("router", "b1", timeout_seconds=0)
    async with AsyncDeviceClient("http://device", transport=Scripted(failed)) as waiting:
        with pytest.raises(WaitError, match="full"):
            await waiting.wait_until_serving("router", "b1", timeout_seconds=0)
