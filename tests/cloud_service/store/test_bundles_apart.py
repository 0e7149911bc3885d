"""Bundles in a real bucket, and everything else in a file: what is kept where, and what sweeps delete."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloud_service.bootstrap import open_cloud
from cloud_service.lora_request import LoraRequest
from cloud_service.store import StoredImport, StoredLora
from cloud_service.store.backends import open_objects
from cloud_service.store.bundles_apart import BundlesApart
from cloud_service.store.s3 import S3Objects
from cloud_service.store.sqlite import SqliteStore
from cloud_service.task import TaskDescription
from loragen.contract.bundle import content_id
from loragen.contract.digest import sha256_hex
from tests.cloud_service.clouds import client_of, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.s3_server import BUCKET, S3Server
from tests.cloud_service.store_backends import LIMITS, store_lora

URL = f"s3://{BUCKET}/fleet/one"
HOURS = 3600.0

pytestmark = pytest.mark.usefixtures("s3")


class Stores:
    """Opens stores over one file and one bucket; `later` sets their clock forward."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "store.sqlite3"
        self._opened: list[BundlesApart] = []
        self.later = 0.0

    def open(self, url: str = URL, **limits: Any) -> BundlesApart:
        kept = replace(LIMITS, **limits)
        objects = open_objects(url, kept.timeout_seconds)
        store = BundlesApart(SqliteStore(self._path, kept), objects, kept, lambda: time.time() + self.later)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.aclose()


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = Stores(tmp_path)
    yield stores
    await stores.close()


def _lora(text: str, size: int = 1000) -> tuple[StoredLora, bytes]:
    bundle = text.encode().ljust(size, b"\0")
    recipe = b"recipe of " + text.encode()
    return StoredLora(sha256_hex(recipe), recipe, len(bundle), sha256_hex(bundle)), bundle


def _imported(text: str, size: int = 1000) -> tuple[StoredImport, bytes]:
    bundle = text.encode().ljust(size, b"\0")
    return StoredImport(sha256_hex(bundle), len(bundle), "edge", "0" * 64), bundle


def _read_all(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("store.sqlite3*"))


async def test_bundles_are_objects_under_the_prefix_and_the_file_has_none_of_their_bytes(
    s3: S3Server, stores: Stores, tmp_path: Path
) -> None:
    store = stores.open()
    (lora, bundle), (imported, users) = _lora("generated", 5000), _imported("imported", 5000)
    await store_lora(store, "key", lora, bundle)
    assert await store.store_imported(imported, users)
    assert await store.load_bundle(lora.bundle_id) == bundle
    assert await store.load_imported(imported.bundle_id) == users
    assert await store.find_imported(imported.bundle_id) == imported
    assert s3.names() == [f"fleet/one/generated/{lora.bundle_id}", f"fleet/one/imported/{imported.bundle_id}"]
    stored = _read_all(tmp_path)
    assert lora.recipe in stored
    assert bundle not in stored
    assert users not in stored


async def test_what_is_not_there_is_none(stores: Stores) -> None:
    store = stores.open()
    assert await store.load_bundle(sha256_hex(b"absent")) is None
    assert await store.load_imported(sha256_hex(b"absent")) is None


async def test_bundles_that_were_in_the_other_store_before_are_still_read(stores: Stores, tmp_path: Path) -> None:
    before = SqliteStore(tmp_path / "store.sqlite3", LIMITS)
    (lora, bundle), (imported, users) = _lora("generated"), _imported("imported")
    await store_lora(before, "key", lora, bundle)
    assert await before.store_imported(imported, users)
    await before.aclose()
    store = stores.open()
    assert await store.load_bundle(lora.bundle_id) == bundle
    assert await store.load_imported(imported.bundle_id) == users


async def test_imported_bundles_count_in_their_budget_wherever_their_bytes_are(stores: Stores) -> None:
    store = stores.open(import_budget_bytes=2500)
    first, second, third = (_imported(name) for name in ("first", "second", "third"))
    assert await store.store_imported(*first)
    assert await store.store_imported(*second)
    assert not await store.store_imported(*third)
    assert await store.store_imported(*first)
    assert await store.load_imported(third[0].bundle_id) is None


@pytest.mark.slow
async def test_sweep_keeps_the_generated_bundles_that_were_written_last_within_the_budget(
    s3: S3Server, stores: Stores
) -> None:
    store = stores.open(bundle_budget_bytes=2500)
    loras = [_lora(name) for name in ("a", "b", "c", "d")]
    for number, (lora, bundle) in enumerate(loras):
        if number:
            await asyncio.sleep(1.0)  # S3 tells whole seconds
        await store.store_bundle(lora.bundle_id, bundle)
    huge, bundle = _lora("huge", 2501)
    await store.store_bundle(huge.bundle_id, bundle)
    assert await store.load_bundle(huge.bundle_id) is None
    assert await store.sweep() == 2
    kept = [await store.load_bundle(lora.bundle_id) is not None for lora, _ in loras]
    assert kept == [False, False, True, True]
    assert len(s3.names()) == 2


async def test_sweep_deletes_generated_bundles_that_are_older_than_a_recipe_may_be(
    s3: S3Server, stores: Stores
) -> None:
    store = stores.open(recipe_ttl_seconds=100.0)
    lora, bundle = _lora("one")
    await store.store_bundle(lora.bundle_id, bundle)
    stores.later = 90.0
    assert await store.sweep() == 0
    stores.later = 200.0
    assert await store.sweep() == 1
    assert s3.names() == []


async def test_sweep_deletes_imported_bundles_that_the_store_does_not_know_and_leaves_fresh_ones(
    s3: S3Server, stores: Stores
) -> None:
    store = stores.open(import_budget_bytes=1500)
    known, refused = _imported("known"), _imported("refused")
    assert await store.store_imported(*known)
    assert not await store.store_imported(*refused)
    assert len(s3.names()) == 2
    assert await store.sweep() == 0
    stores.later = 2 * HOURS
    await _let_leases_end(store, refused[0].bundle_id)
    assert await store.sweep() == 1
    assert s3.names() == [f"fleet/one/imported/{known[0].bundle_id}"]
    assert await store.load_imported(known[0].bundle_id) == known[1]


class _Slow(S3Objects):
    """A bucket whose next deletion waits until it is let go, once it was asked for."""

    def __init__(self) -> None:
        super().__init__(URL, LIMITS.timeout_seconds)
        self.asked, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def delete(self, names: list[str]) -> None:
        self.asked.set()
        await self.may_go_on.wait()
        await super().delete(names)


async def test_bundle_that_is_imported_again_while_it_is_swept_is_there(stores: Stores) -> None:
    one, two = stores.open(), stores.open()
    imported, bundle = _imported("mine")
    assert await one.store_imported(imported, bundle, "acme")
    assert await one.disown("acme", imported.bundle_id, 0)
    stores.later = 2 * HOURS
    one._objects = slow = _Slow()
    await _let_leases_end(one, imported.bundle_id)
    sweeping = asyncio.create_task(one.sweep())
    await asyncio.wait_for(slow.asked.wait(), 5)
    importing = asyncio.create_task(two.store_imported(imported, bundle, "acme"))
    await asyncio.sleep(0.2)
    slow.may_go_on.set()
    assert (await sweeping, await importing) == (1, True)
    assert await two.load_imported(imported.bundle_id) == bundle


async def test_sweep_that_listed_a_bundle_before_it_was_imported_again_leaves_it(stores: Stores) -> None:
    one, two = stores.open(), stores.open()
    imported, bundle = _imported("mine")
    assert await one.store_imported(imported, bundle)
    assert await one.disown("", imported.bundle_id, 0)
    stores.later = 2 * HOURS
    (name,) = await one._lost_imported()
    assert await two.store_imported(imported, bundle)
    assert not await one._delete_imported(name), "it may be about to be written"
    await _let_leases_end(one, imported.bundle_id)
    assert not await one._delete_imported(name), "it is known"
    assert await two.load_imported(imported.bundle_id) == bundle


async def _let_leases_end(store: BundlesApart, bundle_id: str) -> None:
    await store.release_lease(f"import/{bundle_id}", "imported")


@pytest.mark.slow
async def test_sweep_deletes_more_than_one_page_and_one_replica_sweeps_for_all(s3: S3Server, stores: Stores) -> None:
    for number in range(1001):
        s3.alter(f"fleet/one/generated/{number}", b"0123456789")
    one, other = stores.open(bundle_budget_bytes=5), stores.open(bundle_budget_bytes=5)
    assert await one.sweep() == 1001
    s3.alter("fleet/one/generated/late", b"0123456789")
    assert await other.sweep() == 0
    assert await one.sweep() == 1


async def test_service_over_a_bucket_builds_what_was_altered(
    s3: S3Server, tmp_path: Path, generator: FakeGenerator
) -> None:
    settings = settings_for(tmp_path, bundle_url=URL, store_timeout_seconds=0.5)
    async with open_cloud(settings, [generator]) as cloud:
        made = await cloud.service.generate(LoraRequest(TaskDescription("Sort."), include_bundle=True))
        bundle_id = made.id
    s3.alter(f"fleet/one/generated/{bundle_id}", b"altered")
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        answer = await client.get(f"/bundles/{bundle_id}")
        assert (answer.status_code, content_id(answer.content)) == (200, bundle_id)
        assert s3.ask("GET", f"/{BUCKET}/fleet/one/generated/{bundle_id}") == answer.content


async def test_service_whose_bucket_goes_away_stays_ready_and_builds_bundles(
    s3: S3Server, tmp_path: Path, generator: FakeGenerator
) -> None:
    """All replicas miss it together: were they not ready, nobody could ask for anything else either."""
    settings = settings_for(tmp_path, bundle_url=URL, store_timeout_seconds=0.5)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        lora_id = (await client.post("/generate-lora", json={"description": "Sort."})).json()["id"]
        await client.put("/channels/c/specializations/mail", json={"bundle_id": lora_id})
        assert (await client.get("/health/ready")).status_code == 200
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        assert (await client.get("/health/ready")).status_code == 200
        (entry,) = (await client.get("/channels/c")).json()["specializations"]
        s3.pause()
        try:
            await asyncio.sleep(1.0)  # what readiness knows holds for a second
            assert (await client.get("/health/ready")).status_code == 200
            assert (await client.post("/generate-lora", json={"description": "Reply."})).status_code == 200
            bundle = await client.get(f"/bundles/{entry['bundle_id']}")
            assert (bundle.status_code, content_id(bundle.content)) == (200, entry["bundle_id"])
        finally:
            s3.go_on()
    another = FakeGenerator(tmp_path, generator_id="another")
    async with open_cloud(settings, [another]) as cloud, client_of(cloud) as client:
        assert (await client.get("/health/ready")).status_code == 200
        s3.pause()
        try:
            refused = await client.get(f"/bundles/{entry['bundle_id']}")
        finally:
            s3.go_on()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable"), "it is not gone"


async def test_service_that_never_reached_its_bucket_is_not_ready(
    s3: S3Server, tmp_path: Path, generator: FakeGenerator
) -> None:
    settings = settings_for(tmp_path, bundle_url=URL, store_timeout_seconds=0.5)
    async with open_cloud(settings, [generator]) as cloud, client_of(cloud) as client:
        s3.pause()
        try:
            refused = await client.get("/health/ready")
        finally:
            s3.go_on()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")
        assert BUCKET not in refused.text
        await asyncio.sleep(1.0)
        assert (await client.get("/health/ready")).status_code == 200
