"""Channels and their rollouts, for people."""

import httpx2
import pytest

from cloud_service.access.scopes import Scope
from cloud_service.bootstrap import Cloud
from cloud_service.fleet.bodies import RolloutBody
from cloud_service.http.console import channel_pages
from cloud_service.store import DeviceEntry
from loragen.contract.channel import parse_channel
from tests.cloud_service.clouds import make_bundle
from tests.cloud_service.guarded import Guarded
from tests.cloud_service.http.console.page_reader import Page
from tests.cloud_service.http.console.people import signed_in

PATH = "/console/channels/kitchen"


async def _publish(http: httpx2.AsyncClient, name: str, text: str) -> str:
    bundle_id = await make_bundle(http, text)
    answer = await http.put(f"/channels/kitchen/specializations/{name}", json={"bundle_id": bundle_id})
    assert answer.status_code in (200, 201)
    return bundle_id


async def _digest(http: httpx2.AsyncClient) -> str:
    return (await http.get("/channels/kitchen")).headers["etag"].strip('"')


async def _start(http: httpx2.AsyncClient, bundle_id: str) -> httpx2.Response:
    form = {"name": "mail", "bundle_id": bundle_id, "percent": "100", "labels": "ring=canary"}
    form |= {"halt_failing_percent": "5", "action": "start", "digest": await _digest(http)}
    return await http.post(PATH, data=form)


async def test_channel_is_changed_from_publish_to_going_back(http: httpx2.AsyncClient) -> None:
    first, second = await make_bundle(http, "first"), await make_bundle(http, "second")
    page = await http.post("/console", data={"channel": "kitchen", "name": "mail", "bundle_id": first})
    assert f"mail is {first} since version 1." in page.text
    form = {"digest": await _digest(http), "name": "mail", "bundle_id": second}
    assert (await http.post(PATH, data={**form, "action": "publish"})).status_code == 200
    stale = await http.post(PATH, data={**form, "action": "withdraw"})
    assert stale.status_code == 412
    assert "Not done:" in stale.text
    back = await http.post(PATH, data={"action": "rollback", "version": "1", "digest": await _digest(http)})
    assert "Version 3 has the content of version 1." in back.text
    gone = await http.post(PATH, data={"action": "withdraw", "name": "mail", "digest": await _digest(http)})
    assert "It lists nothing." in gone.text
    assert parse_channel((await http.get("/channels/kitchen")).content).version == 4


async def test_difference_between_versions_can_be_undone_from_its_page(http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    await _publish(http, "mail", "second")
    await _publish(http, "notes", "first")
    page = await http.get(f"{PATH}/diff?old=1")
    assert "1 added, 0 removed, 1 changed" in page.text
    assert "Roll back to version 1" in page.text
    assert not Page(page.text).faults
    old = await http.get(f"{PATH}/diff?old=1&new=2")
    assert "Roll back" not in old.text
    assert "Both list the same." in (await http.get(f"{PATH}/diff?old=3")).text


async def test_one_entry_comes_back_as_it_was_at_a_kept_version(http: httpx2.AsyncClient) -> None:
    first = await _publish(http, "mail", "first")
    notes = await _publish(http, "notes", "notes")
    second = await _publish(http, "mail", "second")
    await http.post(PATH, data={"action": "withdraw", "name": "notes", "digest": await _digest(http)})
    for name, bundle_id in (("mail", first), ("notes", notes)):
        page = await http.get(f"{PATH}/diff?old=2")
        assert f'Bring back<span class="unseen"> {name} of version 2' in page.text
        form = next(form for form in Page(page.text).forms if form.get("name") == name)
        assert form["bundle_id"] == bundle_id
        assert (await http.post(PATH, data={**form, "action": "publish"})).status_code == 200
    listed = parse_channel((await http.get("/channels/kitchen")).content).specializations
    assert {each.name: each.bundle_id for each in listed} == {"mail": first, "notes": notes}
    between = await http.get(f"{PATH}/diff?old=2&new=3")
    assert second[:12] in between.text
    assert "Bring back" not in between.text, "what is not present is not changed"


async def test_kept_version_is_brought_to_some_devices_first(http: httpx2.AsyncClient) -> None:
    first = await _publish(http, "mail", "first")
    await _publish(http, "mail", "second")
    page = await http.get(f"{PATH}/diff?old=1")
    form = next(form for form in Page(page.text).forms if "halt_failing_percent" in form)
    assert {name for name in RolloutBody.model_fields if name not in ("name", "bundle_id")} <= form.keys()
    started = await http.post(PATH, data={**form, "percent": "25", "labels": "ring=canary", "action": "start"})
    assert "The rollout of version 3 has begun." in started.text
    (rollout,) = (await http.get("/channels/kitchen/rollouts")).json()["rollouts"]
    assert rollout["about"] == "content of version 1"
    assert rollout["groups"] == [{"percent": 25, "labels": {"ring": "canary"}}]
    promoted = await http.post(PATH, data={"action": "promoted", "version": "3"})
    assert "is promoted" in promoted.text
    (entry,) = parse_channel((await http.get("/channels/kitchen")).content).specializations
    assert entry.bundle_id == first


async def test_rollout_from_start_to_end(http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    started = await _start(http, await make_bundle(http, "second"))
    assert "The rollout of version 2 has begun." in started.text
    assert f'data-live="5" data-from="{PATH}"' in started.text
    wider = await http.post(PATH, data={"action": "widen", "version": "2", "percent": "50", "labels": ""})
    assert "50 % of all devices" in wider.text
    assert not Page(wider.text).faults
    for action, reported in (("paused", "is paused"), ("running", "is running"), ("promoted", "is promoted")):
        page = await http.post(PATH, data={"action": action, "version": "2"})
        assert reported in page.text
    assert "data-live" not in page.text
    assert (await http.post(PATH, data={"action": "aborted", "version": "2"})).status_code == 409


async def test_what_was_generated_goes_to_some_devices_first(http: httpx2.AsyncClient) -> None:
    """Its bundle was not made yet, so the recipe stands for it."""
    first = await _publish(http, "mail", "first")
    form = next(
        form
        for form in Page((await http.post("/console/generate", data={"description": "second"})).text).forms
        if "bundle_id" in form
    )
    asked = form | {"channel": "kitchen", "name": "mail", "action": "start"}
    page = Page((await http.post("/console", data=asked)).text)
    (entry,) = parse_channel((await http.get("/channels/kitchen")).content).specializations
    assert entry.bundle_id == first
    started = next(form for form in page.forms if "halt_failing_percent" in form)
    assert (started["name"], started["bundle_id"]) == ("mail", form["bundle_id"])
    answer = await http.post(PATH, data=started | {"action": "start"})
    assert "The rollout of version 2 has begun." in answer.text
    missing = await http.post("/console", data=asked | {"channel": "garden"})
    assert missing.status_code == 404


async def test_form_of_a_rollout_has_all_that_the_api_has(http: httpx2.AsyncClient) -> None:
    bundle_id = await _publish(http, "mail", "first")
    form = next(form for form in Page((await http.get(PATH)).text).forms if "halt_failing_percent" in form)
    assert {name for name in RolloutBody.model_fields if name != "version"} <= form.keys()
    assert {name: form[name] for name in form if name.startswith("halt_")} == {
        "halt_failing_percent": "5",
        "halt_slower_percent": "25",
        "halt_min_devices": "10",
    }
    chosen = {"name": "notes", "bundle_id": bundle_id, "percent": "50", "starts_at": "2100-01-02T03:04"}
    chosen |= {"halt_failing_percent": "3", "halt_slower_percent": "7.5", "halt_min_devices": "20"}
    page = await http.post(PATH, data={**form, **chosen, "action": "start"})
    assert "of at least 20 devices that have it, 3 % fail or 7.5 % are slower" in page.text
    (rollout,) = (await http.get("/channels/kitchen/rollouts")).json()["rollouts"]
    assert rollout["starts_at"] == "2100-01-02T03:04:00.000+00:00"


async def test_each_group_of_a_rollout_has_its_own_bar(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    candidate = await make_bundle(http, "second")
    await _start(http, candidate)
    await http.post(PATH, data={"action": "widen", "version": "2", "percent": "100", "labels": "ring=wide"})
    for name, version, failed, ring in (
        ("one", 2, (), "canary"),
        ("two", 2, (candidate,), "canary"),
        ("three", 1, (), "canary"),
        ("four", 1, (candidate,), "wide"),
    ):
        await cloud.devices.report(DeviceEntry("kitchen", name, version, failed, {"ring": ring}), b"{}")
    page = (await http.get(PATH)).text
    for label, count in (("ring=canary", "2 of 3"), ("ring=wide", "0 of 1"), ("All devices", "2 of 4")):
        row = next(line for line in page.splitlines() if f"{label}</th>" in line or f"{label} of" in line)
        assert f"<td>{count}</td>" in row
    assert page.count('<span class="state failed">1</span>') == 2


async def test_device_is_forgotten(cloud: Cloud, http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    await cloud.devices.report(DeviceEntry("kitchen", "toaster", 1), b"{}")
    page = await http.post(PATH, data={"action": "forget", "device_id": "toaster"})
    assert "toaster is forgotten" in page.text
    assert (await http.post(PATH, data={"action": "forget", "device_id": "toaster"})).status_code == 404


async def test_many_names_come_page_by_page_and_are_found(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_pages, "_ENTRIES", 10)
    bundle_id = await make_bundle(http, "first")
    for number in range(12):
        await cloud.channels.publish("kitchen", f"task-{number:02}", bundle_id)
    first = (await http.get(PATH)).text
    assert "12 specializations" in first
    assert first.count('<th scope="row">task-') == 10
    more = next(link for link in Page(first).links if "after=" in link)
    assert (await http.get(more)).text.count('<th scope="row">task-') == 2
    found = (await http.get(f"{PATH}?find=-1")).text
    assert found.count('<th scope="row">task-') == 2
    nothing = await http.get(PATH, params={"find": "<b>"})
    assert "None of the 12 names contains <bdi>&lt;b&gt;</bdi>." in nothing.text


async def test_many_channels_come_page_by_page(
    cloud: Cloud, http: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_pages, "_CHANNELS", 5)
    bundle_id = await make_bundle(http, "first")
    for number in range(6):
        await cloud.channels.publish(f"group-{number}", "mail", bundle_id)
    more = next(link for link in Page((await http.get("/console")).text).links if "after=" in link)
    second = (await http.get(more)).text
    assert "group-5" in second
    assert "group-4" not in second


NO_FORMS: tuple[dict[str, str], ...] = (
    {},
    {"action": "format"},
    {"action": "publish", "name": "../x", "bundle_id": "0" * 64},
    {"action": "publish", "name": "x", "bundle_id": "x"},
    {"action": "rollback", "version": "x"},
    {"action": "rollback", "version": "0"},
    {"action": "start", "percent": "nan", "halt_failing_percent": "5"},
    {"action": "start", "percent": "5", "labels": "Ring", "halt_failing_percent": "5"},
    {"action": "start", "percent": "5", "halt_slower_percent": "101"},
    {"action": "start", "percent": "5", "halt_min_devices": "1.5"},
    {"action": "start", "percent": "5", "starts_at": "soon"},
    {"action": "widen", "version": "inf", "percent": "5"},
    {"action": "forget", "device_id": "../x"},
)


async def test_form_that_is_none_is_refused_on_the_same_page(http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    for form in NO_FORMS:
        page = await http.post(PATH, data=form)
        assert page.status_code == 422, form
        assert 'role="alert"' in page.text
        assert Page(page.text).headings == ["Channel kitchen"]


async def test_refused_form_keeps_what_was_entered(http: httpx2.AsyncClient) -> None:
    await _publish(http, "mail", "first")
    form = {"action": "start", "name": "a-name", "bundle_id": "0" * 64, "percent": "12", "labels": "ring=x"}
    page = await http.post(PATH, data={**form, "halt_failing_percent": "7"})
    assert page.status_code == 404
    for value in ("a-name", "0" * 64, "12", "ring=x", "7"):
        assert f'value="{value}"' in page.text


async def test_page_of_nothing_says_so(http: httpx2.AsyncClient) -> None:
    assert "There is no channel yet." in (await http.get("/console")).text
    missing = await http.get("/console/channels/never-used")
    assert missing.status_code == 404
    assert "no channel" in missing.text


async def test_reader_sees_no_form_that_changes_something(guarded: Guarded) -> None:
    key = await guarded.key(Scope.GENERATE, Scope.PUBLISH)
    bundle_id = (await guarded.http.post("/generate-lora", json={"description": "x"}, headers=key)).json()["id"]
    for channel in ("kitchen", "acme.kitchen"):
        path = f"/channels/{channel}/specializations/mail"
        assert (await guarded.http.put(path, json={"bundle_id": bundle_id}, headers=key)).status_code in (200, 201)
    async with signed_in(guarded, Scope.READ) as reader, signed_in(guarded, Scope.READ, tenant="acme") as tenant:
        page = (await reader.get(PATH)).text
        assert '<form method="post" action="/console/channels' not in page
        assert (await reader.post(PATH, data={"action": "withdraw", "name": "mail"})).status_code == 403
        listed = (await tenant.get("/console")).text
        assert "acme.kitchen" in listed
        assert ">kitchen<" not in listed
        assert (await tenant.get(PATH)).status_code == 404
