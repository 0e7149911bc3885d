"""Generated bundles as files beside the database."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cloud_service.store import StoredLora
from cloud_service.store.bundle_folder import BundleFolder
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import SqliteBackend, failing, store_lora
from tests.full_disk import full_disk, read_only_disk

pytestmark = pytest.mark.usefixtures("every_failure_is_logged")

LORA = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))


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


async def test_nobody_waits_while_a_bundle_is_written(sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a tenant could tell by its own calls that another has fetched something."""
    store, other = await sqlite.open(), await sqlite.open()
    began, go_on = threading.Event(), threading.Event()
    replace = Path.replace

    def slow(path: Path, target: Path) -> Path:
        began.set()
        assert go_on.wait(10)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", slow)
    storing = asyncio.create_task(store_lora(store, "key", LORA, b"bundle"))
    assert await asyncio.to_thread(began.wait, 10)
    for one in (store, other):
        assert await one.find_generation("key") is not None
        await one.verify_writable()
    assert not storing.done()
    go_on.set()
    await storing
    assert await other.load_bundle(LORA.bundle_id) == b"bundle"


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
