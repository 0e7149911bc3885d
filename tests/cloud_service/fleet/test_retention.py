"""What no channel names expires; what one names, now or in a kept version, does not."""

import asyncio

from cloud_service.access.audit import AuditLog
from cloud_service.fleet.devices import DeviceService
from cloud_service.fleet.retention import forget_deleted, sweep
from cloud_service.fleet.rollout import Group, HaltRule
from cloud_service.fleet.rollouts import RolloutRequest, RolloutService
from cloud_service.store import StoredImport
from loragen.contract.digest import sha256_hex
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import generate_lora, make_channels
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend, store_report


async def test_what_no_channel_names_expires_and_everything_else_stays(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open(recipe_ttl_seconds=1.0, versions_per_channel=2)
    channels = make_channels(store, 1)
    rollouts = RolloutService(
        channels, store.channels, DeviceService(store.devices, store.channels, AuditLog(store.access))
    )
    forgotten, kept, present, rolling = [await generate_lora(store, generator, text) for text in "abcd"]
    imported = StoredImport(sha256_hex(b"mine"), 4, "tiny-edge", "e" * 64)
    await store.store_imported(imported, b"mine")
    await channels.publish("garden", "x", imported.bundle_id)
    for lora in (forgotten, kept, present):
        await channels.publish("kitchen", "x", lora.bundle_id)
    request = RolloutRequest(Group(1), HaltRule(5, 10), name="x", bundle_id=rolling.bundle_id)
    await rollouts.start("kitchen", request)
    await channels.delete("garden")
    assert await sweep(store) == 0  # all were pinned a moment ago
    assert await sweep(store, grace_seconds=0) == 2
    assert await sweep(store, grace_seconds=0) == 0
    await asyncio.sleep(1.2)
    assert await store.load_lora(forgotten.bundle_id) is None
    assert await store.load_recipe(forgotten.recipe_id) is None
    assert await store.load_imported(imported.bundle_id) is None
    for lora in (kept, present, rolling):
        assert await store.load_recipe(lora.recipe_id) == lora.recipe


async def test_bundle_that_was_unpinned_is_pinned_again_by_a_publish(
    sqlite: SqliteBackend, generator: FakeGenerator
) -> None:
    store = await sqlite.open(recipe_ttl_seconds=0.5)
    channels = make_channels(store, 1)
    lora = await generate_lora(store, generator, "a")
    await channels.publish("kitchen", "x", lora.bundle_id)
    await channels.delete("kitchen")
    assert await sweep(store, grace_seconds=0) == 1
    await channels.publish("kitchen", "x", lora.bundle_id)
    await asyncio.sleep(0.6)
    assert await store.load_recipe(lora.recipe_id) == lora.recipe
    assert await sweep(store, grace_seconds=0) == 0


async def test_deleted_channel_is_forgotten_when_no_device_follows_it(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open(device_ttl_seconds=1.5)
    channels = make_channels(store, 1)
    lora = await generate_lora(store, generator, "a")
    for name in ("there", "followed", "alone"):
        await channels.publish(name, "x", lora.bundle_id)
        await channels.publish(name, "y", lora.bundle_id)
    for name in ("followed", "alone"):
        await channels.delete(name)
    await store_report(store, "followed", "device", b"report")
    assert await forget_deleted(store, 0) == 0, "kept for ever"
    assert await forget_deleted(store, 60) == 0, "deleted a moment ago"
    assert await forget_deleted(store, 1e-6) == 1
    assert [each.action for each in await channels.list_events("followed")] == ["delete", "publish", "publish"]
    assert await channels.list_events("alone") == []
    assert (await channels.load("there")).channel.version == 2
    assert (await channels.publish("followed", "x", lora.bundle_id)).channel.version == 3, "it counts on"
    await channels.delete("followed")
    assert (await channels.publish("alone", "x", lora.bundle_id)).channel.version == 1, "it begins anew"
    await asyncio.sleep(1.6)
    assert await forget_deleted(store, 1e-6) == 1
    assert await channels.list_events("followed") == []


async def test_channel_that_is_published_again_meanwhile_is_not_forgotten(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open()
    channels = make_channels(store, 1)
    lora = await generate_lora(store, generator, "a")
    await channels.publish("kitchen", "x", lora.bundle_id)
    await channels.delete("kitchen")
    later = 2**53
    assert await store.channels.list_deleted(later) == ["kitchen"]
    await channels.publish("kitchen", "x", lora.bundle_id)
    assert not await store.channels.forget("kitchen", later)
    assert await store.channels.list_deleted(later) == []
    assert (await channels.load("kitchen")).channel.version == 2
