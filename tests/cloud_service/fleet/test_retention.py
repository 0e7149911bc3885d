"""What no channel names expires; what one names, now or in a kept version, does not."""

import asyncio

from cloud_service.fleet.devices import DeviceService
from cloud_service.fleet.retention import sweep
from cloud_service.fleet.rollout import Group, HaltRule
from cloud_service.fleet.rollouts import RolloutRequest, RolloutService
from cloud_service.store import StoredImport
from loragen.contract.digest import sha256_hex
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import generate_lora, make_channels
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend


async def test_what_no_channel_names_expires_and_everything_else_stays(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    store = await backend.open(recipe_ttl_seconds=1.0, versions_per_channel=2)
    channels = make_channels(store, 1)
    rollouts = RolloutService(channels, store.channels, DeviceService(store.devices, store.channels))
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
