"""Bundles as files beside the database."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from cloud_service.store import StoredImport, StoredLora
from cloud_service.store.bundle_folder import BundleFolder
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import SqliteBackend, failing, store_lora
from tests.full_disk import full_disk, read_only_disk

pytestmark = pytest.mark.usefixtures("every_failure_is_logged")

LORA = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))
IMPORT = StoredImport(sha256_hex(b"import"), 6, "edge", "e" * 64)


@pytest_asyncio.fixture
async def folder(tmp_path: Path) -> AsyncIterator[BundleFolder]:
    folder = BundleFolder(tmp_path / "bundles", 2.0)
    yield folder
    await folder.aclose()


async def test_bundle_is_read_as_it_was_written_last_and_deleted_once(folder: BundleFolder) -> None:
    assert await folder.get("a") is None
    await folder.put("a", b"one")
    await folder.put("a", b"two")
    assert await folder.get("a") == b"two"
    await folder.delete(["a", "b"])
    await folder.delete(["a"])
    assert await folder.get("a") is None


async def test_bundle_that_cannot_be_written_leaves_nothing_and_the_one_before(
    folder: BundleFolder, tmp_path: Path
) -> None:
    await folder.put("a", b"one")
    with full_disk(1_000), failing("large"):
        await folder.put("a", bytes(2_000))
    with read_only_disk(), failing("Read-only"):
        await folder.put("b", b"two")
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == ["a"]
    assert await folder.get("a") == b"one"


async def test_file_larger_than_any_bundle_is_not_read(folder: BundleFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.store.bundle_folder.MAX_BUNDLE_BYTES", 10)
    await folder.put("a", bytes(11))
    assert await folder.get("a") is None


@pytest.mark.parametrize("kind", ["generated", "imported"])
async def test_nobody_waits_while_a_bundle_is_written(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Or a tenant could tell by its own calls that another has fetched something, and probes would fail meanwhile."""
    store, other = await sqlite.open(), await sqlite.open()
    began, go_on = threading.Event(), threading.Event()
    move = Path.replace

    def slow(path: Path, target: Path) -> Path:
        began.set()
        assert go_on.wait(10)
        return move(path, target)

    monkeypatch.setattr(Path, "replace", slow)
    work: Coroutine[None, None, object]
    if kind == "generated":
        work = store_lora(store, "key", LORA, b"bundle")
    else:
        work = store.store_imported(IMPORT, b"import")
    storing = asyncio.create_task(work)
    assert await asyncio.to_thread(began.wait, 10)
    for one in (store, other):
        await one.find_generation("key")
        assert await one.find_imported(IMPORT.bundle_id) is None, "nobody hears of it before it is there"
        await one.verify_writable()
    assert not storing.done()
    go_on.set()
    await storing
    if kind == "generated":
        assert await other.load_bundle(LORA.bundle_id) == b"bundle"
    else:
        assert await other.load_imported(IMPORT.bundle_id) == b"import"


async def test_imported_bundle_without_room_or_past_its_time_leaves_no_file(sqlite: SqliteBackend) -> None:
    store = await sqlite.open(import_budget_bytes=10, recipe_ttl_seconds=0.05)
    folder = sqlite.path.with_name("store.sqlite3-imported")
    assert not await store.store_imported(replace(IMPORT, bundle_bytes=11), b"import")
    assert not folder.exists()
    assert await store.store_imported(IMPORT, b"import")
    await asyncio.sleep(0.1)
    assert await store.load_imported(IMPORT.bundle_id) is None
    os.utime(folder / IMPORT.bundle_id, (1, 1))
    await store.prune()
    assert not list(folder.iterdir())


async def test_file_that_is_deleted_while_its_bundle_is_imported_again_is_not_taken_for_stored(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await sqlite.open()
    put = BundleFolder.put

    async def put_and_lose(folder: BundleFolder, bundle_id: str, bundle: bytes) -> None:
        await put(folder, bundle_id, bundle)
        folder.delete_now([bundle_id])

    with monkeypatch.context() as patch:
        patch.setattr(BundleFolder, "put", put_and_lose)
        with failing("was deleted"):
            await store.store_imported(IMPORT, b"import")
    assert await store.find_imported(IMPORT.bundle_id) is None
    assert await store.store_imported(IMPORT, b"import")


async def test_imported_bundle_is_on_the_disk_before_anybody_hears_of_it(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can build it again."""
    store, synced, fsync = await sqlite.open(), 0, os.fsync

    def count(descriptor: int) -> None:
        nonlocal synced
        synced += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    assert await store.store_imported(IMPORT, b"import")
    assert synced == 2, "the file, and its folder"
    await store_lora(store, "key", LORA, b"bundle")
    assert synced == 2


async def test_evicted_bundles_and_parts_that_were_never_finished_leave_the_folder(sqlite: SqliteBackend) -> None:
    store = await sqlite.open(bundle_budget_bytes=10)
    folder = sqlite.path.with_name("store.sqlite3-bundles")
    await store.store_bundle("evicted", bytes(8))
    await store_lora(store, "key", LORA, b"bundle")
    assert [path.name for path in folder.iterdir()] == [LORA.bundle_id]
    for name in (".writing-old", "unknown", "fresh"):
        (folder / name).write_bytes(b"x")
    for path in folder.iterdir():
        if path.name != "fresh":
            os.utime(path, (1, 1))
    await store.prune()
    assert sorted(path.name for path in folder.iterdir()) == sorted(["fresh", LORA.bundle_id])
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"


async def test_bundle_whose_file_is_gone_is_stored_again(sqlite: SqliteBackend) -> None:
    store = await sqlite.open()
    await store_lora(store, "key", LORA, b"bundle")
    (sqlite.path.with_name("store.sqlite3-bundles") / LORA.bundle_id).unlink()
    assert await store.load_bundle(LORA.bundle_id) is None
    await store.store_bundle(LORA.bundle_id, b"bundle")
    assert await store.load_bundle(LORA.bundle_id) == b"bundle"
