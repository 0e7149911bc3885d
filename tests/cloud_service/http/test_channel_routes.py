"""Channels over HTTP."""

from pathlib import Path

import httpx2
import pytest

from cloud_service.bootstrap import Cloud, open_cloud
from loragen.contract.channel import parse_channel
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


async def _bundle(http: httpx2.AsyncClient, text: str) -> str:
    bundle_id: str = (await http.post("/generate-lora", json={"description": text})).json()["id"]
    return bundle_id


async def test_publish_poll_and_withdraw(http: httpx2.AsyncClient) -> None:
    bundle_id = await _bundle(http, "Sort the mail.")
    put = await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
    assert put.status_code == 200

    poll = await http.get("/channels/kitchen")
    assert poll.content == put.content
    assert poll.headers["etag"] == put.headers["etag"]
    assert parse_channel(poll.content).specializations[0].bundle_id == bundle_id
    same = await http.get("/channels/kitchen", headers={"if-none-match": poll.headers["etag"]})
    assert (same.status_code, same.content) == (304, b"")

    gone = await http.delete("/channels/kitchen/specializations/mail")
    assert gone.status_code == 200
    changed = await http.get("/channels/kitchen", headers={"if-none-match": poll.headers["etag"]})
    assert changed.status_code == 200
    assert parse_channel(changed.content).version == 2


async def test_if_match_guards_against_a_change_in_between(http: httpx2.AsyncClient) -> None:
    first, second = await _bundle(http, "first"), await _bundle(http, "second")
    seen = (await http.put("/channels/c/specializations/a", json={"bundle_id": first})).headers["etag"]
    newer = await http.put("/channels/c/specializations/a", json={"bundle_id": second}, headers={"if-match": seen})
    assert newer.status_code == 200
    stale = await http.put("/channels/c/specializations/a", json={"bundle_id": first}, headers={"if-match": seen})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "precondition_failed")
    stale = await http.delete("/channels/c/specializations/a", headers={"if-match": seen})
    assert stale.status_code == 412
    assert parse_channel((await http.get("/channels/c")).content).specializations[0].bundle_id == second


async def test_star_asks_for_a_name_that_is_there_or_is_not(http: httpx2.AsyncClient) -> None:
    body = {"bundle_id": await _bundle(http, "first")}
    path, there, absent = "/channels/c/specializations/a", {"if-match": "*"}, {"if-none-match": "*"}
    assert (await http.put(path, json=body, headers=there)).status_code == 412
    assert (await http.put(path, json=body, headers=absent)).status_code == 200
    assert (await http.put(path, json=body, headers=absent)).status_code == 412
    assert (await http.put(path, json=body, headers=there)).status_code == 200
    assert (await http.delete(path, headers=there)).status_code == 200
    assert (await http.delete(path, headers=there)).status_code == 412


async def test_list_of_tags_holds_when_one_of_them_does(http: httpx2.AsyncClient) -> None:
    body = {"bundle_id": await _bundle(http, "first")}
    seen = (await http.put("/channels/c/specializations/a", json=body)).headers["etag"]
    for tags, status in ((f'"old", {seen}', 200), (f"W/{seen}", 412), (seen.strip('"'), 422)):
        response = await http.put("/channels/c/specializations/a", json=body, headers={"if-match": tags})
        assert response.status_code == status


async def test_restart_keeps_channels_and_bundles(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        bundle_id = await _bundle(http, "Sort the mail.")
        before = await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
        bundle = (await http.get(f"/bundles/{bundle_id}")).content
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        assert (await http.get("/channels/kitchen")).content == before.content
        assert (await http.get(f"/bundles/{bundle_id}")).content == bundle
        again = await http.post("/generate-lora", json={"description": "Sort the mail."})
        assert again.json()["cached"]


async def test_channel_without_devices_lists_none(http: httpx2.AsyncClient) -> None:
    assert (await http.get("/channels/kitchen/devices")).json() == {"devices": [], "next_before": None}


async def test_report_that_cannot_be_read_hides_no_other_device(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    readable = b'{"device_id": "%s", "channel": "kitchen", "channel_version": 1}'
    for device_id, report in (
        ("first", readable % b"first"),
        ("newer", b'{"device_id": "newer", "channel": "kitchen", "channel_version": 1, "unknown": 1}'),
        ("broken", b"\xff{"),
        ("last", readable % b"last"),
    ):
        await cloud.channels.report("kitchen", device_id, report)
    listed = (await http.get("/channels/kitchen/devices")).json()["devices"]
    assert [device["device_id"] for device in listed] == ["last", "first"]


async def test_poll_that_finds_nothing_new_reads_the_digest_alone(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = (await http.put("/channels/c/specializations/a", json={"bundle_id": await _bundle(http, "a")})).headers[
        "etag"
    ]
    with monkeypatch.context() as patch:
        patch.setattr(type(cloud.channels), "load", None)
        for tags in (etag, f"W/{etag}", f'"old", {etag}', "*"):
            same = await http.get("/channels/c", headers={"if-none-match": tags})
            assert (same.status_code, same.headers["etag"], same.headers["cache-control"]) == (304, etag, "no-cache")
    assert (await http.get("/channels/c", headers={"if-none-match": '"old"'})).headers["etag"] == etag
    assert (await http.get("/channels/never-used", headers={"if-none-match": etag})).status_code == 404


async def test_devices_are_listed_page_by_page(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    for number in range(5):
        report = b'{"device_id": "d%d", "channel": "kitchen", "channel_version": 1}' % number
        await cloud.channels.report("kitchen", f"d{number}", report)
    found, query = [], "limit=2"
    while True:
        page = (await http.get(f"/channels/kitchen/devices?{query}")).json()
        found += [device["device_id"] for device in page["devices"]]
        if page["next_before"] is None:
            break
        query = f"limit=2&before={page['next_before']}"
    assert found == ["d4", "d3", "d2", "d1", "d0"]
    for query in ("limit=0", "limit=101", "before=-1", f"before={2**62}", "before=x"):
        assert (await http.get(f"/channels/kitchen/devices?{query}")).status_code == 422
