"""Channels over HTTP."""

from pathlib import Path

import httpx2
import pytest

from cloud_service.bootstrap import Cloud, open_cloud
from loragen.contract.channel import parse_channel
from tests.cloud_service.clouds import client_of, make_bundle, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


async def test_publish_poll_and_withdraw(http: httpx2.AsyncClient) -> None:
    bundle_id = await make_bundle(http, "Sort the mail.")
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
    first, second = await make_bundle(http, "first"), await make_bundle(http, "second")
    seen = (await http.put("/channels/c/specializations/a", json={"bundle_id": first})).headers["etag"]
    newer = await http.put("/channels/c/specializations/a", json={"bundle_id": second}, headers={"if-match": seen})
    assert newer.status_code == 200
    stale = await http.put("/channels/c/specializations/a", json={"bundle_id": first}, headers={"if-match": seen})
    assert (stale.status_code, stale.json()["error"]["code"]) == (412, "precondition_failed")
    stale = await http.delete("/channels/c/specializations/a", headers={"if-match": seen})
    assert stale.status_code == 412
    assert parse_channel((await http.get("/channels/c")).content).specializations[0].bundle_id == second


async def test_star_asks_for_a_name_that_is_there_or_is_not(http: httpx2.AsyncClient) -> None:
    body = {"bundle_id": await make_bundle(http, "first")}
    path, there, absent = "/channels/c/specializations/a", {"if-match": "*"}, {"if-none-match": "*"}
    assert (await http.put(path, json=body, headers=there)).status_code == 412
    assert (await http.put(path, json=body, headers=absent)).status_code == 200
    assert (await http.put(path, json=body, headers=absent)).status_code == 412
    assert (await http.put(path, json=body, headers=there)).status_code == 200
    assert (await http.delete(path, headers=there)).status_code == 200
    assert (await http.delete(path, headers=there)).status_code == 412


async def test_list_of_tags_holds_when_one_of_them_does(http: httpx2.AsyncClient) -> None:
    body = {"bundle_id": await make_bundle(http, "first")}
    seen = (await http.put("/channels/c/specializations/a", json=body)).headers["etag"]
    for tags, status in ((f'"old", {seen}', 200), (f"W/{seen}", 412), (seen.strip('"'), 422)):
        response = await http.put("/channels/c/specializations/a", json=body, headers={"if-match": tags})
        assert response.status_code == status


async def test_restart_keeps_channels_and_bundles(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        bundle_id = await make_bundle(http, "Sort the mail.")
        before = await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": bundle_id})
        bundle = (await http.get(f"/bundles/{bundle_id}")).content
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        assert (await http.get("/channels/kitchen")).content == before.content
        assert (await http.get(f"/bundles/{bundle_id}")).content == bundle
        again = await http.post("/generate-lora", json={"description": "Sort the mail."})
        assert again.json()["cached"]


async def test_poll_that_finds_nothing_new_reads_the_digest_alone(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = (await http.put("/channels/c/specializations/a", json={"bundle_id": await make_bundle(http, "a")})).headers[
        "etag"
    ]
    with monkeypatch.context() as patch:
        patch.setattr(type(cloud.channels), "load", None)
        for tags in (etag, f"W/{etag}", f'"old", {etag}', "*"):
            same = await http.get("/channels/c", headers={"if-none-match": tags})
            assert (same.status_code, same.headers["etag"], same.headers["cache-control"]) == (304, etag, "no-cache")
    assert (await http.get("/channels/c", headers={"if-none-match": '"old"'})).headers["etag"] == etag
    assert (await http.get("/channels/never-used", headers={"if-none-match": etag})).status_code == 404


async def test_channels_are_listed_and_deleted(http: httpx2.AsyncClient) -> None:
    body = {"bundle_id": await make_bundle(http, "first")}
    for channel in ("a", "b", "c"):
        seen = (await http.put(f"/channels/{channel}/specializations/x", json=body)).headers["etag"]
    page = (await http.get("/channels?limit=2")).json()
    assert [(each["name"], each["version"], each["rollout"]) for each in page["channels"]] == [
        ("a", 1, False),
        ("b", 1, False),
    ]
    rest = (await http.get(f"/channels?limit=2&after={page['next_after']}")).json()
    assert ([each["name"] for each in rest["channels"]], rest["next_after"]) == (["c"], None)
    assert (await http.delete("/channels/c", headers={"if-match": '"other"'})).status_code == 412
    assert (await http.delete("/channels/c", headers={"if-match": seen})).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await http.request(method, "/channels/c")).status_code == 404


async def test_shared_caches_answer_polls_for_as_long_as_is_set(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, channel_cache_seconds=5)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as http:
        await http.put("/channels/c/specializations/x", json={"bundle_id": await make_bundle(http, "first")})
        poll = await http.get("/channels/c")
        same = await http.get("/channels/c", headers={"if-none-match": poll.headers["etag"]})
    assert poll.headers["cache-control"] == same.headers["cache-control"] == "public, max-age=0, s-maxage=5"
