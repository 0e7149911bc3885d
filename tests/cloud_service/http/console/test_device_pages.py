"""Devices, for people."""

import json

import httpx2
import pytest_asyncio

from cloud_service.bootstrap import Cloud
from cloud_service.store import DeviceEntry
from loragen.fleet_answers import ReportedDevice, ReportedSpecialization
from tests.cloud_service.http.console.page_reader import Page

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest_asyncio.fixture(autouse=True)
async def _published(http: httpx2.AsyncClient) -> None:
    bundle_id = (await http.post("/generate-lora", json={"description": "Sort."})).json()["id"]
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})


async def _report(cloud: Cloud, name: str, *, failed: bool = False, ring: str = "wide") -> None:
    one = ReportedSpecialization(
        name="mail", bundle_id="f" * 64, state="failed" if failed else "merged", message=HOSTILE
    )
    report = ReportedDevice(device_id=name, channel="kitchen", channel_version=1, specializations=(one,))
    entry = DeviceEntry("kitchen", name, 1, ("f" * 64,) if failed else (), {"ring": ring})
    await cloud.devices.report(entry, report.model_dump_json().encode())


async def test_devices_are_found_with_what_they_said(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    assert "No device has reported yet." in (await http.get("/console/devices")).text
    await _report(cloud, "toaster", failed=True, ring="canary")
    await _report(cloud, "kettle")
    page = await http.get("/console/devices?channel=kitchen")
    assert not Page(page.text).faults
    assert "2 devices follow kitchen, 1 failing" in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    found = (await http.get("/console/devices?labels=ring=canary&failing=true")).text
    assert "toaster" in found
    assert "kettle" not in found
    assert "No device fits." in (await http.get("/console/devices?channel=garden")).text


async def test_many_devices_come_page_by_page(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    for number in range(60):
        await _report(cloud, f"device-{number}")
    first = (await http.get("/console/devices?labels=ring%3Dwide")).text
    assert first.count('<th scope="row">device-') == 50
    second = (await http.get(next(link for link in Page(first).links if "before=" in link))).text
    assert second.count('<th scope="row">device-') == 10


async def test_report_that_cannot_be_read_is_named(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await cloud.devices.report(DeviceEntry("kitchen", "toaster", 1), json.dumps({"device_id": 3}).encode())
    assert "Its report cannot be read." in (await http.get("/console/devices")).text


async def test_filter_that_is_none_is_refused_and_kept(http: httpx2.AsyncClient) -> None:
    for field, value in (("channel", '"><b>'), ("labels", "<b>"), ("labels", "Ring")):
        page = await http.get("/console/devices", params={field: value})
        assert page.status_code == 422
        assert "b" not in Page(page.text).tags
    assert (await http.get("/console/devices?before=x")).status_code == 422
