"""What every adapter of the store promises of imported bundles; tests run against Redis, SQLite, and with a bucket."""

import asyncio

import pytest

from cloud_service.store import StoredImport
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import StoreBackend


@pytest.fixture
def backend(everywhere: StoreBackend) -> StoreBackend:
    """Each kind of store in turn."""
    return everywhere


def _imported(text: str, size: int = 1000) -> tuple[StoredImport, bytes]:
    bundle = text.encode().ljust(size, b"\0")
    return StoredImport(sha256_hex(bundle), size, "tiny-edge", "e" * 64), bundle


async def test_imported_bundle_is_found_with_what_it_is_for(backend: StoreBackend) -> None:
    store = await backend.open()
    imported, bundle = _imported("one")
    for _ in range(2):
        assert await store.store_imported(imported, bundle)
    assert await store.find_imported(imported.bundle_id) == imported
    assert await store.load_imported(imported.bundle_id) == bundle


async def test_imported_bundles_have_a_budget_that_evicts_nothing(backend: StoreBackend) -> None:
    store = await backend.open(import_budget_bytes=2500)
    stored = [_imported(text) for text in ("one", "two", "three")]
    assert [await store.store_imported(*each) for each in stored] == [True, True, False]
    assert await store.find_imported(stored[0][0].bundle_id) == stored[0][0]
    assert await store.find_imported(stored[2][0].bundle_id) is None
    assert await store.store_imported(*stored[1])


async def test_imported_bundle_expires_unless_it_is_pinned(backend: StoreBackend) -> None:
    store = await backend.open(recipe_ttl_seconds=0.2, import_budget_bytes=2000)
    (kept, kept_bytes), lost = _imported("kept"), _imported("lost")
    assert await store.store_imported(kept, kept_bytes)
    assert await store.store_imported(*lost)
    assert await store.pin_imported(kept.bundle_id)
    assert await store.store_imported(kept, kept_bytes)
    await asyncio.sleep(0.3)
    assert await store.load_imported(kept.bundle_id) == kept_bytes
    assert await store.load_imported(lost[0].bundle_id) is None
    assert not await store.pin_imported(lost[0].bundle_id)
    assert await store.store_imported(*_imported("more"))
    assert not await store.store_imported(*_imported("too much"))
