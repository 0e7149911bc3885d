"""Devices over HTTP."""

from typing import Any

import httpx2
import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.store import DeviceEntry
from tests.cloud_service.clouds import publish_to


async def _report(cloud: Cloud, device_id: str, channel: str = "kitchen", **about: Any) -> None:
    text = b'{"device_id": "%s", "channel": "%s", "channel_version": 1}' % (device_id.encode(), channel.encode())
    await publish_to(cloud, channel)
    await cloud.devices.report(DeviceEntry(channel, device_id, **{"version": 1} | about), text)


async def _found(http: httpx2.AsyncClient, query: str = "") -> list[str]:
    listed = (await http.get(f"/devices?{query}")).json()
    return [device["device_id"] for device in listed["devices"]]


async def test_channel_without_devices_lists_none(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/devices")).json() == {"devices": [], "next_before": None, "summary": None}
    empty = {"devices": 0, "failing": 0, "versions": []}
    assert (await http.get("/devices?channel=kitchen")).json()["summary"] == empty


async def test_devices_are_found_by_what_they_say_and_counted(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await _report(cloud, "a", labels={"ring": "canary", "site": "berlin"})
    await _report(cloud, "b", labels={"ring": "canary"}, version=2, failed=("f" * 64,))
    await _report(cloud, "c", version=2)
    await _report(cloud, "d", channel="garden")
    assert await _found(http) == ["d", "c", "b", "a"]
    assert await _found(http, "channel=kitchen") == ["c", "b", "a"]
    assert await _found(http, "label=ring=canary") == ["b", "a"]
    assert await _found(http, "label=ring=canary&label=site=berlin") == ["a"]
    assert await _found(http, "failing=true") == ["b"]
    assert await _found(http, "failing=false&channel=kitchen") == ["c", "a"]
    summary = (await http.get("/devices?channel=kitchen&limit=1")).json()["summary"]
    versions = [{"version": 1, "devices": 1}, {"version": 2, "devices": 2}]
    assert summary == {"devices": 3, "failing": 1, "versions": versions}


async def test_devices_are_listed_page_by_page(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    for number in range(5):
        await _report(cloud, f"d{number}")
    found, query = [], "limit=2"
    while True:
        page = (await http.get(f"/devices?{query}")).json()
        found += [device["device_id"] for device in page["devices"]]
        if page["next_before"] is None:
            break
        middle = page["next_before"]
        query = f"limit=2&before={page['next_before']}"
    assert found == ["d4", "d3", "d2", "d1", "d0"]
    assert await _found(http, f"after={middle}") == ["d4", "d3", "d2"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "before=-1", f"before={2**62}", "before=x", "after=-1", "channel=..%2F", "failing=2"),
        *("label=ring", "label=Ring=x", "label=a=b&label=a=c", "&".join(f"label=a{n}=b" for n in range(17))),
    ],
)
async def test_question_that_is_none_is_refused(http: httpx2.AsyncClient, query: str) -> None:
    assert (await http.get(f"/devices?{query}")).status_code == 422


async def test_report_that_cannot_be_read_hides_no_other_device(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await _report(cloud, "first")
    for device_id, report in (
        ("newer", b'{"device_id": "newer", "channel": "kitchen", "channel_version": 1, "unknown": 1}'),
        ("broken", b"\xff{"),
    ):
        await cloud.devices.report(DeviceEntry("kitchen", device_id, 1), report)
    assert await _found(http) == ["newer", "first"]


async def test_device_is_forgotten_until_it_reports_again(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await _report(cloud, "a")
    assert (await http.delete("/channels/kitchen/devices/a")).status_code == 204
    assert await _found(http) == []
    gone = await http.delete("/channels/kitchen/devices/a")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "device_not_found")
    await _report(cloud, "a")
    assert await _found(http) == ["a"]
