"""A user's own LoRA is kept, on every replica and over restarts, as long as a channel names it."""

import asyncio

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.errors import ImportBudgetError, IntegrityError, NotFoundError
from cloud_service.importing import ImportRequest, ImportService
from cloud_service.lora_request import PublishTarget
from cloud_service.store import Store, StoredImport
from loragen.contract.bundle import content_id
from tests.adapters import random_adapter
from tests.cloud_service.fake_generator import LINEARS, FakeGenerator
from tests.cloud_service.services import MakeService, make_channels
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend

ADAPTER = random_adapter(LINEARS)


def import_service(services: MakeService, store: Store, generator: FakeGenerator) -> ImportService:
    service = services(store, generator)
    return ImportService(service.catalog, store, service.artifacts, make_channels(store))


async def test_published_bundle_outlives_its_time_and_a_restart(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open(recipe_ttl_seconds=0.3)
    importing = import_service(services, store, generator)
    kept = await importing.import_adapter(ImportRequest(ADAPTER, publish=PublishTarget("kitchen", "mails")))
    lost = await importing.import_adapter(ImportRequest(random_adapter(LINEARS, rank=1)))
    await asyncio.sleep(0.4)
    await backend.restart()
    artifacts = services(await backend.open(), generator).artifacts
    data = await artifacts.fetch_bundle(await artifacts.find_bundle(kept.bundle.bundle_id))
    assert content_id(data) == kept.bundle.bundle_id
    with pytest.raises(NotFoundError):
        await artifacts.find_bundle(lost.bundle.bundle_id)


async def test_import_is_in_the_audit_log(
    sqlite: SqliteBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await sqlite.open()
    bundle = (await import_service(services, store, generator).import_adapter(ImportRequest(ADAPTER))).bundle
    ((entry,), _) = await AuditLog(store.access).page(10)
    target = {"id": bundle.bundle_id, "bytes": bundle.bundle_bytes}
    assert (entry.action, entry.target) == ("bundle.import", target)


async def test_expired_bundles_make_room(
    backend: StoreBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await backend.open(recipe_ttl_seconds=0.3, import_budget_bytes=6_000)
    importing = import_service(services, store, generator)
    await importing.import_adapter(ImportRequest(ADAPTER))
    with pytest.raises(ImportBudgetError):
        await importing.import_adapter(ImportRequest(random_adapter(LINEARS, seed=1)))
    await asyncio.sleep(0.4)
    await importing.import_adapter(ImportRequest(random_adapter(LINEARS, seed=1), publish=PublishTarget("c", "n")))
    await asyncio.sleep(0.4)
    with pytest.raises(ImportBudgetError):
        await importing.import_adapter(ImportRequest(ADAPTER))


async def test_damaged_bundle_is_not_handed_out(
    sqlite: SqliteBackend, generator: FakeGenerator, services: MakeService
) -> None:
    store = await sqlite.open()
    imported = StoredImport("0" * 64, 7, "tiny-edge", "1" * 64)
    assert await store.store_imported(imported, b"damaged")
    artifacts = services(store, generator).artifacts
    with pytest.raises(IntegrityError, match="damaged"):
        await artifacts.fetch_bundle(imported)
