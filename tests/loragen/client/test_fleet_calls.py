"""Every call about channels, rollouts and devices, against the service itself."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud_service.bootstrap import Cloud
from cloud_service.store import DeviceEntry
from loragen import AsyncCloudClient, RemoteError
from tests.cloud_service.clouds import publish_to


async def _two_versions(cloud: AsyncCloudClient) -> tuple[str, str]:
    first = (await cloud.generate("first", publish="kitchen/mail")).id
    second = (await cloud.generate("second", publish="kitchen/mail")).id
    return first, second


async def test_history_and_the_way_back(cloud: AsyncCloudClient) -> None:
    first, second = await _two_versions(cloud)
    page = await cloud.channels()
    assert ([each.name for each in page.channels], page.next_after) == (["kitchen"], None)
    assert [(each.version, each.action) for each in await cloud.versions("kitchen")] == [(2, "publish"), (1, "publish")]
    old = await cloud.channel_at("kitchen", 1)
    assert old.specializations["mail"].bundle_id == first
    (changed,) = (await cloud.difference("kitchen", 1)).changed
    assert (changed.old_bundle_id, changed.new_bundle_id) == (first, second)
    with pytest.raises(RemoteError) as caught:
        await cloud.roll_back("kitchen", 1, expected=old)
    assert caught.value.code == "precondition_failed"
    back = await cloud.roll_back("kitchen", 1, expected=await cloud.channel("kitchen"))
    assert (back.version, back.specializations["mail"].bundle_id) == (3, first)
    assert [each.action for each in await cloud.events("kitchen", limit=2)] == ["rollback", "publish"]
    with pytest.raises(RemoteError) as caught:
        await cloud.delete_channel("kitchen", expected=old)
    assert caught.value.code == "precondition_failed"
    await cloud.delete_channel("kitchen")
    with pytest.raises(RemoteError) as caught:
        await cloud.channel("kitchen")
    assert caught.value.status == 404


async def test_bundle_and_recipe_are_deleted_unless_a_channel_names_them(cloud: AsyncCloudClient) -> None:
    named = await cloud.generate("first", publish="kitchen/mail")
    with pytest.raises(RemoteError) as caught:
        await cloud.delete_bundle(named.id)
    assert (caught.value.status, caught.value.code) == (409, "bundle_in_use")
    assert "'kitchen'" in str(caught.value)
    made = await cloud.generate("second")
    await cloud.delete_bundle(made.id)
    with pytest.raises(RemoteError) as caught:
        await cloud.delete_recipe(made.recipe_id)
    assert (caught.value.status, caught.value.code) == (404, "recipe_not_found")
    again = await cloud.generate("second")
    assert (again.id, again.cached) == (made.id, False)
    assert await cloud.bundle(again.id)
    await cloud.delete_recipe(again.recipe_id)
    with pytest.raises(RemoteError) as caught:
        await cloud.bundle(again.id)
    assert caught.value.code == "bundle_not_found"


async def test_rollout_from_start_to_end(cloud: AsyncCloudClient) -> None:
    first, second = await _two_versions(cloud)
    assert await cloud.rollouts("kitchen") == ()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    rollout = await cloud.start_rollout(
        "kitchen",
        "mail",
        first,
        percent=5,
        labels={"ring": "canary"},
        starts_at=tomorrow,
        halt_failing_percent=1,
        halt_slower_percent=2,
        halt_min_devices=50,
        expected=await cloud.channel("kitchen"),
    )
    assert (rollout.version, rollout.state, rollout.about) == (3, "running", f"mail is {first}")
    assert (rollout.halt_failing_percent, rollout.halt_slower_percent, rollout.halt_min_devices) == (1, 2, 50)
    assert datetime.fromisoformat(rollout.starts_at) - tomorrow < timedelta(seconds=1)
    widened = await cloud.change_rollout("kitchen", 3, percent=50)
    assert [(each.percent, each.labels) for each in widened.groups] == [(5, {"ring": "canary"}), (50, {})]
    assert (await cloud.change_rollout("kitchen", 3, state="aborted")).state == "aborted"
    again = await cloud.start_rollout("kitchen", version=1)
    await cloud.change_rollout("kitchen", again.version, state="promoted")
    assert (await cloud.channel("kitchen")).specializations["mail"].bundle_id == first
    ((last,), known) = (await cloud.rollouts("kitchen"), second)
    assert (last.version, last.state, known) == (again.version, "promoted", second)


async def test_devices_are_found_and_forgotten(cloud: AsyncCloudClient, cloud_app: Cloud) -> None:
    await publish_to(cloud_app, "kitchen")
    for number, failed in enumerate([(), ("f" * 64,)]):
        report = b'{"device_id": "d%d", "channel": "kitchen", "channel_version": 1}' % number
        await cloud_app.devices.report(DeviceEntry("kitchen", f"d{number}", 1, failed, {"ring": "canary"}), report)
    page = await cloud.devices("kitchen", labels={"ring": "canary"}, failing=True)
    assert [each.device_id for each in page.devices] == ["d1"]
    assert page.summary is not None
    assert (page.summary.devices, page.summary.failing) == (2, 1)
    first = await cloud.devices(limit=1, seen_after=datetime.now(UTC) - timedelta(hours=1))
    assert ([each.device_id for each in first.devices], first.summary) == (["d1"], None)
    rest = await cloud.devices(before=first.next_before)
    assert [each.device_id for each in rest.devices] == ["d0"]
    assert (await cloud.devices(seen_after=datetime.now(UTC) + timedelta(hours=1))).devices == ()
    await cloud.delete_device("kitchen", "d0")
    with pytest.raises(RemoteError) as caught:
        await cloud.delete_device("kitchen", "d0")
    assert caught.value.code == "device_not_found"
