"""What every adapter of the store promises; tests run against Redis, SQLite, and SQLite with bundles in a bucket."""

import asyncio
import time
from dataclasses import replace

import pytest

from cloud_service.store import StoredGeneration, StoredLora
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import (
    StoreBackend,
    load_reports,
    recipe_of,
    store_lora,
    swap,
)


@pytest.fixture
def backend(everywhere: StoreBackend) -> StoreBackend:
    """Each kind of store in turn."""
    return everywhere


def _lora(text: str, size: int = 1000) -> tuple[StoredLora, bytes]:
    bundle = text.encode().ljust(size, b"\0")
    recipe = b"recipe\0\xff of " + text.encode()
    return StoredLora(sha256_hex(recipe), recipe, len(bundle), sha256_hex(bundle)), bundle


async def test_generation_is_found_again_with_recipe_and_bundle(backend: StoreBackend) -> None:
    store = await backend.open()
    lora, bundle = _lora("one")
    await store_lora(store, "key", lora, bundle)
    assert await store.find_generation("key") == StoredGeneration(recipe_of(lora))
    assert await store.load_lora(lora.bundle_id) == lora
    assert await store.load_recipe(lora.recipe_id) == lora.recipe
    assert await store.load_bundle(lora.bundle_id) == bundle


async def test_generation_is_found_before_its_bundle_is_named(backend: StoreBackend) -> None:
    store = await backend.open()
    lora, bundle = _lora("one")
    await store.store_generation("key", recipe_of(lora), b"note")
    assert await store.find_generation("key") == StoredGeneration(recipe_of(lora), b"note")
    assert await store.load_recipe(lora.recipe_id) == lora.recipe
    for either_id in (lora.recipe_id, lora.bundle_id):
        assert await store.load_lora(either_id) is None
    assert not await store.pin(lora.bundle_id)
    await store.name_bundle(lora.recipe_id, lora.bundle_id)
    await store.store_generation("key", recipe_of(lora), b"note")
    for either_id in (lora.recipe_id, lora.bundle_id):
        assert await store.load_lora(either_id) == lora
    assert await store.load_bundle(lora.bundle_id) is None
    await store.store_bundle(lora.bundle_id, bundle)
    assert await store.load_bundle(lora.bundle_id) == bundle


async def test_bundle_of_a_recipe_that_is_not_there_is_not_named(backend: StoreBackend) -> None:
    store = await backend.open()
    lora, _ = _lora("one")
    await store.name_bundle(lora.recipe_id, lora.bundle_id)
    assert await store.load_lora(lora.bundle_id) is None
    assert not await store.pin(lora.bundle_id)


async def test_what_was_never_stored_is_none(backend: StoreBackend) -> None:
    store = await backend.open()
    absent = sha256_hex(b"absent")
    assert await store.find_generation(absent) is None
    assert await store.load_lora(absent) is None
    assert await store.load_recipe(absent) is None
    assert await store.load_bundle(absent) is None
    assert await store.channels.load("absent") is None
    assert await store.channels.load_version("absent") is None
    assert await store.channels.load_digest("absent") is None
    assert await load_reports(store, "absent", 10) == []
    assert not await store.pin(absent)
    assert await store.find_imported(absent) is None
    assert await store.load_imported(absent) is None
    assert not await store.pin_imported(absent)


async def test_two_requests_may_lead_to_one_lora(backend: StoreBackend) -> None:
    store = await backend.open()
    lora, bundle = _lora("one")
    for key in ("first", "second", "second"):
        await store_lora(store, key, lora, bundle)
    assert await store.find_generation("first") == StoredGeneration(recipe_of(lora))
    assert await store.find_generation("second") == StoredGeneration(recipe_of(lora))


async def test_storing_again_replaces_a_damaged_recipe_and_keeps_it_pinned(backend: StoreBackend) -> None:
    store = await backend.open(recipe_ttl_seconds=0.2)
    lora, bundle = _lora("one")
    await store_lora(store, "key", replace(lora, bundle_bytes=1, recipe=b"damaged"), bundle)
    assert await store.pin(lora.bundle_id)
    await store_lora(store, "key", lora, bundle)
    assert await store.find_generation("key") == StoredGeneration(recipe_of(lora))
    await asyncio.sleep(0.3)
    assert await store.load_lora(lora.bundle_id) == lora
    assert await store.load_recipe(lora.recipe_id) == lora.recipe


async def test_note_belongs_to_the_request_and_not_to_the_lora(backend: StoreBackend) -> None:
    """Two requests may lead to one LoRA, and one without a note is as those stored before there were notes."""
    store = await backend.open()
    lora, bundle = _lora("one")
    await store_lora(store, "first", lora, bundle, b"note\0\xff of first")
    await store_lora(store, "second", lora, bundle)
    assert await store.find_generation("first") == StoredGeneration(recipe_of(lora), b"note\0\xff of first")
    assert await store.find_generation("second") == StoredGeneration(recipe_of(lora), b"")
    await store_lora(store, "first", lora, bundle, b"other")
    await backend.restart()
    assert await (await backend.open()).find_generation("first") == StoredGeneration(recipe_of(lora), b"other")


# In a bucket, sweeps evict: test_s3.py.
@pytest.mark.parametrize("everywhere", ["sqlite", "redis"], indirect=True)
async def test_bundles_used_least_recently_are_evicted_and_recipes_stay(backend: StoreBackend) -> None:
    store = await backend.open(bundle_budget_bytes=3000)
    loras = [_lora(name) for name in ("a", "b", "c")]
    for key, (lora, bundle) in enumerate(loras):
        await store_lora(store, str(key), lora, bundle)
    await store.load_bundle(loras[0][0].bundle_id)
    new, bundle = _lora("d", size=1500)
    await store_lora(store, "d", new, bundle)
    kept = [await store.load_bundle(lora.bundle_id) is not None for lora, _ in [*loras, (new, bundle)]]
    assert kept == [True, False, False, True]
    for key, (lora, _) in enumerate(loras):
        assert await store.find_generation(str(key)) == StoredGeneration(recipe_of(lora))


async def test_storing_a_bundle_twice_counts_once(backend: StoreBackend) -> None:
    store = await backend.open(bundle_budget_bytes=2000)
    (one, one_bundle), (two, two_bundle) = _lora("one"), _lora("two")
    await store_lora(store, "one", one, one_bundle)
    for _ in range(5):
        await store.store_bundle(one.bundle_id, one_bundle)
    await store_lora(store, "two", two, two_bundle)
    assert await store.load_bundle(one.bundle_id) == one_bundle
    assert await store.load_bundle(two.bundle_id) == two_bundle


async def test_bundle_over_the_whole_budget_is_not_stored_and_evicts_nothing(backend: StoreBackend) -> None:
    store = await backend.open(bundle_budget_bytes=2000)
    (small, small_bundle), (huge, huge_bundle) = _lora("small"), _lora("huge", size=2001)
    await store_lora(store, "small", small, small_bundle)
    await store_lora(store, "huge", huge, huge_bundle)
    assert await store.load_bundle(huge.bundle_id) is None
    assert await store.load_lora(huge.bundle_id) == huge
    assert await store.load_bundle(small.bundle_id) == small_bundle


async def test_unused_recipe_expires_and_a_pinned_one_does_not(backend: StoreBackend) -> None:
    store = await backend.open(recipe_ttl_seconds=0.2)
    (gone, gone_bundle), (pinned, pinned_bundle) = _lora("gone"), _lora("pinned")
    await store_lora(store, "gone", gone, gone_bundle)
    await store_lora(store, "pinned", pinned, pinned_bundle)
    assert await store.pin(pinned.bundle_id)
    await asyncio.sleep(0.3)
    assert await store.find_generation("gone") is None
    assert await store.load_lora(gone.bundle_id) is None
    assert await store.load_recipe(gone.recipe_id) is None
    assert not await store.pin(gone.bundle_id)
    assert await store.load_lora(pinned.bundle_id) == pinned
    assert await store.load_recipe(pinned.recipe_id) == pinned.recipe
    # Generating it again must not make it mortal.
    await store_lora(store, "pinned", pinned, pinned_bundle)
    await asyncio.sleep(0.3)
    assert await store.load_recipe(pinned.recipe_id) == pinned.recipe


async def test_use_renews_the_time_of_a_recipe(backend: StoreBackend) -> None:
    store = await backend.open(recipe_ttl_seconds=0.6)
    lora, bundle = _lora("one")
    await store_lora(store, "key", lora, bundle)
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert await store.find_generation("key") == StoredGeneration(recipe_of(lora))
        await asyncio.sleep(0.1)
    assert await store.load_recipe(lora.recipe_id) == lora.recipe


async def test_downloads_do_not_renew_the_time_of_a_recipe(backend: StoreBackend) -> None:
    store = await backend.open(recipe_ttl_seconds=0.4)
    lora, bundle = _lora("one")
    await store_lora(store, "key", lora, bundle)
    deadline = time.monotonic() + 0.6
    while time.monotonic() < deadline:
        await store.load_lora(lora.bundle_id)
        await store.load_bundle(lora.bundle_id)
        await store.load_recipe(lora.recipe_id)
        await asyncio.sleep(0.05)
    assert await store.load_recipe(lora.recipe_id) is None
    assert await store.load_lora(lora.bundle_id) is None


async def test_lease_has_one_owner_until_released_or_expired(backend: StoreBackend) -> None:
    store, other = await backend.open(), await backend.open()
    assert await store.acquire_lease("k", "me", 30)
    assert await store.acquire_lease("k", "me", 0.3)
    assert not await other.acquire_lease("k", "you", 30)
    await other.release_lease("k", "you")
    assert not await other.acquire_lease("k", "you", 30)
    await asyncio.sleep(0.4)
    assert await other.acquire_lease("k", "you", 30)
    await other.release_lease("k", "you")
    assert await store.acquire_lease("k", "me", 30)


async def test_restart_keeps_recipes_bundles_and_channels(backend: StoreBackend) -> None:
    store = await backend.open()
    lora, bundle = _lora("one")
    await store_lora(store, "key", lora, bundle)
    await store.pin(lora.bundle_id)
    await swap(store, "c", 0, 1, b"document")
    await backend.restart()
    store = await backend.open()
    assert await store.find_generation("key") == StoredGeneration(recipe_of(lora))
    assert await store.load_bundle(lora.bundle_id) == bundle
    assert await store.channels.load("c") == b"document"
    await store.verify_writable()
