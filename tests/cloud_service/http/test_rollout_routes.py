"""Rollouts over HTTP: which document a poll gets, and that no cache mixes devices."""

from typing import Any

import httpx2
import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.store import DeviceEntry
from loragen.contract.channel import parse_channel
from loragen.contract.polling import PollingDevice, poll_headers
from tests.cloud_service.clouds import make_bundle

CANARY = poll_headers(PollingDevice("toaster", {"ring": "canary"}, 1))
OTHER = poll_headers(PollingDevice("kettle", {}, 1))
VARY = "x-loragen-device, x-loragen-labels, x-loragen-version"


async def _start(http: httpx2.AsyncClient, **fields: Any) -> tuple[httpx2.Response, str, str]:
    """A channel with one bundle, and a rollout of another one."""
    old, new = await make_bundle(http, "old"), await make_bundle(http, "new")
    await http.put("/channels/kitchen/specializations/mail", json={"bundle_id": old})
    body = {"name": "mail", "bundle_id": new} | fields
    return await http.post("/channels/kitchen/rollouts", json=body), old, new


async def _poll(http: httpx2.AsyncClient, device: dict[str, str], etag: str = "") -> httpx2.Response:
    return await http.get("/channels/kitchen", headers={**device, **({"if-none-match": etag} if etag else {})})


def _bundle_of(poll: httpx2.Response) -> str:
    return parse_channel(poll.content).specializations[0].bundle_id


async def test_devices_of_the_group_alone_get_the_candidate_and_no_cache_keeps_either(http: httpx2.AsyncClient) -> None:
    started, old, new = await _start(http, labels={"ring": "canary"})
    assert started.status_code == 201
    rollout = started.json()
    assert (rollout["version"], rollout["state"]) == (2, "running")
    assert rollout["groups"] == [{"percent": 100, "labels": {"ring": "canary"}}]
    candidate, present = await _poll(http, CANARY), await _poll(http, OTHER)
    assert (_bundle_of(candidate), _bundle_of(present)) == (new, old)
    assert _bundle_of(await _poll(http, {})) == old
    for device, poll in ((CANARY, candidate), (OTHER, present)):
        same = await _poll(http, device, poll.headers["etag"])
        assert (same.status_code, same.headers["etag"]) == (304, poll.headers["etag"])
        for each in (poll, same):
            assert (each.headers["cache-control"], each.headers["vary"]) == ("private, no-cache", VARY)
    # What a shared cache stored before the rollout is no answer for the canary.
    assert (await _poll(http, CANARY, present.headers["etag"])).status_code == 200

    await http.patch("/channels/kitchen/rollouts/2", json={"state": "promoted"})
    after = await _poll(http, OTHER, present.headers["etag"])
    assert (after.content, after.headers["cache-control"]) == (candidate.content, "no-cache")
    assert "vary" not in after.headers
    assert (await _poll(http, CANARY, candidate.headers["etag"])).status_code == 304


async def test_aborted_rollout_brings_every_device_forward_to_the_old_content(http: httpx2.AsyncClient) -> None:
    _, old, _ = await _start(http)
    assert parse_channel((await _poll(http, CANARY)).content).version == 2
    ended = (await http.patch("/channels/kitchen/rollouts/2", json={"state": "aborted"})).json()
    assert (ended["state"], ended["reason"]) == ("aborted", "by request")
    for device in (poll_headers(PollingDevice("toaster", {}, 2)), OTHER):
        poll = await _poll(http, device)
        assert (parse_channel(poll.content).version, _bundle_of(poll)) == (3, old)
    (last,) = (await http.get("/channels/kitchen/rollouts")).json()["rollouts"]
    assert last == (await http.get("/channels/kitchen/rollouts/2")).json() == ended
    events = (await http.get("/channels/kitchen/events")).json()["events"]
    assert [each["action"] for each in events] == ["abort", "rollout", "publish"]


async def test_rollout_is_widened_paused_and_tells_how_far_it_is(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    _, _, new = await _start(http, percent=0.01, labels={"ring": "none"}, halt_failing_percent=50)
    await cloud.devices.report(DeviceEntry("kitchen", "a", 2, (new,), slower=(new,)), b"{}")
    await cloud.devices.report(DeviceEntry("kitchen", "b", 1), b"{}")
    path = "/channels/kitchen/rollouts/2"
    widened = (await http.patch(path, json={"percent": 100, "labels": {"ring": "canary"}})).json()
    assert [widened[field] for field in ("devices", "updated", "failing", "slower")] == [2, 1, 1, 1]
    assert (widened["halt_failing_percent"], widened["halt_slower_percent"]) == (50, 25)
    assert len(widened["groups"]) == 2
    assert (await http.patch(path, json={"state": "paused"})).json()["state"] == "paused"
    assert parse_channel((await _poll(http, CANARY)).content).version == 1
    listed = (await http.get("/channels")).json()["channels"]
    assert [each["rollout"] for each in listed] == [True]


async def test_other_changes_wait_for_the_end(http: httpx2.AsyncClient) -> None:
    _, _, new = await _start(http)
    refused = await http.put("/channels/kitchen/specializations/post", json={"bundle_id": new})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "rollout_goes_on")
    refused = await http.post("/channels/kitchen/rollouts", json={"name": "mail", "bundle_id": new})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "rollout_goes_on")


async def test_rollout_of_a_document_that_the_client_did_not_see_is_refused(http: httpx2.AsyncClient) -> None:
    _, _, new = await _start(http)
    await http.patch("/channels/kitchen/rollouts/2", json={"state": "aborted"})
    body, etag = {"name": "mail", "bundle_id": new}, (await http.get("/channels/kitchen")).headers["etag"]
    path = "/channels/kitchen/rollouts"
    assert (await http.post(path, json=body, headers={"if-match": '"other"'})).status_code == 412
    assert (await http.post(path, json=body, headers={"if-match": etag})).status_code == 201


async def test_candidate_is_not_seen_before_its_start(http: httpx2.AsyncClient) -> None:
    started, old, _ = await _start(http, starts_at="2199-01-01T00:00:00Z")
    assert started.json()["starts_at"].startswith("2199-01-01T00:00:00")
    assert _bundle_of(await _poll(http, CANARY)) == old


@pytest.mark.parametrize(
    "headers",
    [{"x-loragen-device": "../x"}, {"x-loragen-labels": "x"}, {"x-loragen-version": "-1"}],
)
async def test_poll_with_a_malformed_header_is_refused_while_it_matters(
    http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    await _start(http)
    assert (await _poll(http, headers)).status_code == 422


@pytest.mark.parametrize(
    "fields",
    [
        {"name": None},
        {"bundle_id": None},
        {"version": 1},
        {"name": None, "bundle_id": None},
        {"percent": 0},
        {"percent": 100.1},
        {"percent": "NaN"},
        {"labels": {"Ring": "x"}},
        {"labels": {f"a{n}": "b" for n in range(17)}},
        {"starts_at": "2199-01-01T00:00:00"},
        {"starts_at": "soon"},
        {"starts_at": "9999-12-31T23:59:59-23:59"},
        {"halt_failing_percent": 0},
        {"halt_slower_percent": 0},
        {"halt_min_devices": 0},
        {"unknown": 1},
    ],
)
async def test_rollout_that_is_none_is_refused(http: httpx2.AsyncClient, fields: dict[str, Any]) -> None:
    refused, *_ = await _start(http, **fields)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [{}, {"state": "halted"}, {"state": "paused", "percent": 5}, {"labels": {"a": "b"}}, {"percent": -1}, {"state": 1}],
)
async def test_change_that_is_none_is_refused(http: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    await _start(http)
    assert (await http.patch("/channels/kitchen/rollouts/2", json=body)).status_code == 422
    assert (await http.patch("/channels/kitchen/rollouts/3", json={"state": "paused"})).status_code == 404
    assert (await http.get("/channels/kitchen/rollouts/3")).status_code == 404
