"""What every adapter promises of deleted recipes and bundles; against Redis and SQLite."""

import asyncio
from dataclasses import replace

import pytest

from cloud_service.store import Store, StoredImport, StoredLora
from loragen.contract.digest import sha256_hex
from tests.cloud_service.clouds import eventually
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend, recipe_of, store_lora

LORA = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))
IMPORT = StoredImport(sha256_hex(b"own"), 3, "model", "digest")
LONG_AGO = 0.0
AN_HOUR = 3600.0


async def _store_lora(store: Store, *tenants: str) -> None:
    await store_lora(store, "key", LORA, b"bundle")
    for tenant in tenants:
        await store.access.own(tenant, LORA.recipe_id)
        await store.access.own(tenant, LORA.bundle_id)


async def _owners(store: Store, *ids: str) -> list[str]:
    return [tenant for tenant in ("acme", "other") for each in ids if await store.access.owns(tenant, each)]


@pytest.mark.parametrize("either_id", [LORA.recipe_id, LORA.bundle_id])
async def test_recipe_and_its_bundle_are_a_tenants_no_more_and_anothers_still(
    backend: StoreBackend, either_id: str
) -> None:
    store = await backend.open()
    await _store_lora(store, "acme", "other")
    assert await store.disown("acme", either_id, AN_HOUR)
    await backend.restart()
    store = await backend.open()
    assert await _owners(store, LORA.recipe_id, LORA.bundle_id) == ["other", "other"]
    assert await store.load_lora(LORA.bundle_id) == LORA
    assert await store.disown("acme", either_id, AN_HOUR), "a second time changes nothing"
    await _store_lora(store, "acme")
    assert await _owners(store, LORA.recipe_id) == ["acme", "other"]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is nobody's expires after a moment."""
    monkeypatch.setattr("cloud_service.store.sqlite.NOBODYS_SECONDS", 0.3)
    monkeypatch.setattr("cloud_service.store.redis._NOBODYS_MS", 300)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("either_id", [LORA.recipe_id, LORA.bundle_id])
async def test_recipe_that_is_nobodys_any_more_expires_soon_however_often_it_is_found(
    backend: StoreBackend, either_id: str
) -> None:
    store = await backend.open()
    await store.store_generation("key", recipe_of(LORA), b"", "acme")
    assert await store.name_bundle(LORA.recipe_id, LORA.bundle_id, "acme")
    assert await store.disown("acme", either_id, AN_HOUR)
    for _ in range(3):
        await asyncio.sleep(0.15)
        await store.find_generation("key")
    assert await store.find_generation("key") is None
    assert await store.load_recipe(LORA.recipe_id) is None
    assert await store.load_lora(either_id) is None


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("other", ["other", "", "acme"])
async def test_recipe_that_is_somebodys_again_or_anothers_stays(backend: StoreBackend, other: str) -> None:
    store = await backend.open()
    await store.store_generation("key", recipe_of(LORA), b"", "acme")
    assert await store.name_bundle(LORA.recipe_id, LORA.bundle_id, "acme")
    if other != "acme":
        await store.store_generation("key", recipe_of(LORA), b"", other)
    assert await store.disown("acme", LORA.recipe_id, AN_HOUR)
    if other == "acme":
        assert await store.find_generation("key") is not None
        assert await store.access.own(other, LORA.recipe_id)
    await asyncio.sleep(0.5)
    assert await store.find_generation("key") is not None
    assert await store.load_lora(LORA.bundle_id) == LORA


@pytest.mark.usefixtures("soon")
async def test_recipe_that_no_channel_names_any_more_expires_soon_if_it_is_nobodys(backend: StoreBackend) -> None:
    store = await backend.open()
    await _store_lora(store)
    await store.store_generation("key", recipe_of(LORA), b"", "acme")
    assert await store.name_bundle(LORA.recipe_id, LORA.bundle_id, "acme")
    assert await store.pin(LORA.bundle_id, "acme")
    assert await store.disown("acme", LORA.recipe_id, LONG_AGO)
    await store.unpin(LORA.bundle_id, 2**60)
    await asyncio.sleep(0.5)
    assert await store.load_recipe(LORA.recipe_id) is not None, "it is the operator's, too"


@pytest.mark.usefixtures("soon")
async def test_what_was_pinned_for_a_tenant_that_left_it_expires_soon(backend: StoreBackend) -> None:
    store = await backend.open()
    await store.store_generation("key", recipe_of(LORA), b"", "acme")
    assert await store.name_bundle(LORA.recipe_id, LORA.bundle_id, "acme")
    assert await store.pin(LORA.bundle_id, "acme")
    assert await store.disown("acme", LORA.recipe_id, LONG_AGO)
    await asyncio.sleep(0.5)
    assert await store.load_recipe(LORA.recipe_id) is not None, "a channel names it still"
    await store.unpin(LORA.bundle_id, 2**60)
    await asyncio.sleep(0.5)
    assert await store.load_recipe(LORA.recipe_id) is None


@pytest.mark.parametrize("either_id", [LORA.recipe_id, LORA.bundle_id])
async def test_what_the_operator_deletes_is_gone_for_all(backend: StoreBackend, either_id: str) -> None:
    store = await backend.open()
    await _store_lora(store, "acme", "other")
    assert await store.pin(LORA.bundle_id, "acme")
    assert not await store.disown("", either_id, AN_HOUR)
    assert await store.disown("", either_id, LONG_AGO)
    assert await _owners(store, LORA.recipe_id, LORA.bundle_id) == []
    assert await store.find_generation("key") is None
    assert await store.load_recipe(LORA.recipe_id) is None
    assert await store.load_lora(either_id) is None
    assert await store.list_pinned(2**60) == []
    await _store_lora(store, "acme")
    assert await store.load_lora(either_id) == LORA


async def test_imported_bundle_gives_its_room_back_when_it_is_nobodys(backend: StoreBackend) -> None:
    store = await backend.open(import_budget_bytes=5)
    another = replace(IMPORT, bundle_id=sha256_hex(b"two"))
    for tenant in ("acme", "", "other"):
        assert await store.store_imported(IMPORT, b"own", tenant)
    for tenant in ("acme", "other"):
        assert await store.disown(tenant, IMPORT.bundle_id, AN_HOUR)
        assert await store.load_imported(IMPORT.bundle_id) == b"own"
        assert not await store.store_imported(another, b"two", tenant)
    assert await _owners(store, IMPORT.bundle_id) == []
    assert await store.disown("", IMPORT.bundle_id, AN_HOUR)
    assert await store.find_imported(IMPORT.bundle_id) is None
    assert await store.load_imported(IMPORT.bundle_id) is None
    assert await store.store_imported(another, b"two", "acme")
    assert await store.disown("acme", another.bundle_id, AN_HOUR)
    assert await store.store_imported(IMPORT, b"own", "acme")
    assert await store.load_imported(IMPORT.bundle_id) == b"own"
    assert await _owners(store, IMPORT.bundle_id) == ["acme"]


async def test_file_of_an_imported_bundle_is_deleted_at_once(sqlite: SqliteBackend) -> None:
    store = await sqlite.open()
    file = sqlite.path.with_name("store.sqlite3-imported") / IMPORT.bundle_id
    for tenant in ("acme", "other"):
        await store.store_imported(IMPORT, b"own", tenant)
    await store.disown("acme", IMPORT.bundle_id, AN_HOUR)
    await sqlite.stop()  # waits for what goes on
    assert file.exists()
    store = await sqlite.open()
    await store.disown("other", IMPORT.bundle_id, AN_HOUR)
    await eventually(lambda: not file.exists())


async def test_what_was_pinned_a_moment_ago_stays_for_that_tenant_alone(backend: StoreBackend) -> None:
    store = await backend.open()
    await _store_lora(store, "acme", "other")
    for tenant in ("acme", "other"):
        await store.store_imported(IMPORT, b"own", tenant)
    assert await store.pin(LORA.bundle_id, "acme")
    assert await store.pin_imported(IMPORT.bundle_id, "acme")
    await _store_lora(store, "acme")
    await store.store_imported(IMPORT, b"own", "acme")
    for either_id in (LORA.bundle_id, LORA.recipe_id, IMPORT.bundle_id):
        assert not await store.disown("acme", either_id, AN_HOUR)
        assert await store.disown("other", either_id, AN_HOUR)
        assert await _owners(store, either_id) == ["acme"]
    for either_id in (LORA.bundle_id, IMPORT.bundle_id):
        assert await store.disown("acme", either_id, LONG_AGO)
    assert await store.find_imported(IMPORT.bundle_id) is None
    assert await store.list_pinned(2**60) == [LORA.bundle_id], "a sweep unpins it"


async def test_only_what_is_its_own_is_pinned_for_a_tenant(backend: StoreBackend) -> None:
    store = await backend.open()
    await store_lora(store, "key", LORA, b"bundle")
    await store.access.own("acme", LORA.bundle_id)
    await store.store_imported(IMPORT, b"own", "other")
    assert not await store.pin(LORA.bundle_id, "acme"), "its recipe is not"
    assert not await store.pin(LORA.bundle_id, "other")
    assert not await store.pin_imported(IMPORT.bundle_id, "acme")
    assert await store.list_pinned(2**60) == []
    await store.access.own("acme", LORA.recipe_id)
    assert await store.pin(LORA.bundle_id, "acme")
    assert await store.pin(LORA.bundle_id), "the operator may pin all"
    assert await store.pin_imported(IMPORT.bundle_id)
    # That is the operator's from now on, too.
    assert await store.disown("other", IMPORT.bundle_id, AN_HOUR)
    assert await store.load_imported(IMPORT.bundle_id) == b"own"


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_publish_and_deletion_at_once_are_never_both_done(backend: StoreBackend, tenant: str) -> None:
    one, two = await backend.open(), await backend.open()
    for _ in range(20):
        if tenant:
            await _store_lora(one, tenant)
        else:
            await _store_lora(one)
        await one.store_imported(IMPORT, b"own", tenant)
        pinned, deleted, pinned_import, deleted_import = await asyncio.gather(
            one.pin(LORA.bundle_id, tenant),
            two.disown(tenant, LORA.recipe_id, AN_HOUR),
            one.pin_imported(IMPORT.bundle_id, tenant),
            two.disown(tenant, IMPORT.bundle_id, AN_HOUR),
        )
        assert pinned != deleted
        assert pinned_import != deleted_import
        for either_id in (LORA.recipe_id, IMPORT.bundle_id):
            assert await one.disown(tenant, either_id, LONG_AGO)


@pytest.mark.parametrize("tenant", ["acme", ""])
async def test_bundle_that_was_being_built_does_not_bring_back_a_deleted_recipe(
    backend: StoreBackend, tenant: str
) -> None:
    store = await backend.open()
    await store.store_generation("key", recipe_of(LORA))
    if tenant:
        assert await store.access.own(tenant, LORA.recipe_id)
        assert await store.access.own("other", LORA.recipe_id)
    assert await store.disown(tenant, LORA.recipe_id, LONG_AGO)
    assert not await store.name_bundle(LORA.recipe_id, LORA.bundle_id, tenant)
    assert await _owners(store, LORA.bundle_id) == []
    if tenant:
        assert await store.name_bundle(LORA.recipe_id, LORA.bundle_id, "other")
        assert await _owners(store, LORA.bundle_id) == ["other"]
        assert await store.disown("other", LORA.bundle_id, LONG_AGO)
        assert await _owners(store, LORA.bundle_id, LORA.recipe_id) == []
