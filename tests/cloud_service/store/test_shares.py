"""What every adapter promises of tenants' shares: against Redis, SQLite, and SQLite with bundles in a bucket."""

import asyncio
from collections.abc import Awaitable

import pytest

from cloud_service.store import ChannelRow, DeviceEntry, Store, StoredEvent, StoredImport, StoredLora
from cloud_service.store.access import Share
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import StoreBackend, recipe_of, store_lora


@pytest.fixture
def backend(everywhere: StoreBackend) -> StoreBackend:
    """Each kind of store in turn."""
    return everywhere


def _lora(text: str, size: int = 100) -> StoredLora:
    recipe = text.encode().ljust(size)
    return StoredLora(sha256_hex(recipe), recipe, 1000, sha256_hex(recipe + b"bundle"))


def _imported(text: str, size: int = 100) -> tuple[StoredImport, bytes]:
    bundle = f"import {text}".encode().ljust(size)
    return StoredImport(sha256_hex(bundle), size, "edge", "e" * 64), bundle


async def _own(store: Store, tenant: str, text: str, size: int = 100) -> bool:
    """Have a recipe made for a tenant; whether there was room."""
    lora = _lora(text, size)
    await store_lora(store, f"{tenant} {text}", lora, b"bundle")
    taken = await store.access.own(tenant, lora.recipe_id)
    return taken and await store.access.own(tenant, lora.bundle_id)


async def _used(store: Store, tenant: str = "acme") -> int:
    return (await store.access.share(tenant)).used


async def test_share_says_what_has_room() -> None:
    assert not Share(10**12, 0).lacks(1)
    assert not Share(9, 10).lacks(1)
    assert Share(10, 10).lacks(1)
    assert Share(8, 10).lacks(3)


async def test_recipes_and_imports_of_a_tenant_share_its_bytes(backend: StoreBackend) -> None:
    store = await backend.open(bytes_per_tenant=250)
    assert await store.access.share("acme") == Share(0, 250)
    assert await _own(store, "acme", "one")
    assert await store.store_imported(*_imported("mine"), "acme")
    assert await store.access.share("acme") == Share(200, 250), "generated bundles do not count"
    assert not await _own(store, "acme", "two")
    assert not await store.access.owns("acme", _lora("two").recipe_id)
    assert not await store.store_imported(*_imported("more"), "acme")
    assert await store.find_imported(_imported("more")[0].bundle_id) is None
    # What it has already takes nothing more.
    assert await _own(store, "acme", "one")
    assert await store.store_imported(*_imported("mine"), "acme")
    assert await _own(store, "acme", "small", 50)
    assert await _used(store) == 250
    # Others have shares of their own, for the same things too, and the operator has none.
    assert await _own(store, "other", "one")
    assert await store.store_imported(*_imported("mine"), "other")
    assert await _used(store, "other") == 200
    assert await store.store_imported(*_imported("large", 5_000))
    await backend.restart()
    store = await backend.open(bytes_per_tenant=250)
    assert (await _used(store), await _used(store, "other")) == (250, 200)


async def test_generation_is_counted_in_the_step_that_stores_it(backend: StoreBackend) -> None:
    store = await backend.open(bytes_per_tenant=250)

    async def keep(text: str, tenant: str) -> bool:
        return await store.store_generation(f"{tenant} {text}", recipe_of(_lora(text)), b"note", tenant)

    assert await keep("one", "acme")
    assert await store.access.owns("acme", _lora("one").recipe_id)
    assert await keep("two", "acme")
    assert not await keep("three", "acme")
    assert await store.find_generation("acme three") is None
    assert await store.load_recipe(_lora("three").recipe_id) is None
    assert await keep("one", "acme"), "it has that already"
    assert await _used(store) == 200
    assert await keep("three", "other")
    assert not await keep("three", "acme"), "that another has it makes no room"
    assert await store.find_generation("acme three") is None
    assert not await store.access.owns("acme", _lora("three").recipe_id)
    assert await keep("four", ""), "the operator has no share"
    assert await store.disown("acme", _lora("one").recipe_id, 0)
    assert await keep("three", "acme")
    at_once = await asyncio.gather(*(keep(f"{n}", "third") for n in range(8)))
    assert (sum(at_once), await _used(store, "third")) == (2, 200)


@pytest.mark.parametrize("deleted_by", ["acme", ""])
async def test_what_is_deleted_is_free_at_once(backend: StoreBackend, deleted_by: str) -> None:
    store = await backend.open(bytes_per_tenant=200)
    imported, bundle = _imported("mine")
    for tenant in ("acme", "other"):
        assert await _own(store, tenant, "one")
        assert await store.store_imported(imported, bundle, tenant)
    assert not await _own(store, "acme", "two")
    for either_id in (_lora("one").bundle_id, imported.bundle_id):
        assert await store.disown(deleted_by, either_id, 0)
    others = 0 if deleted_by == "" else 200
    assert (await _used(store), await _used(store, "other")) == (0, others)
    assert await _own(store, "acme", "two")
    assert await store.store_imported(*_imported("new"), "acme")
    assert not await _own(store, "acme", "three")


async def test_what_has_expired_is_free_and_what_is_pinned_is_not(backend: StoreBackend) -> None:
    store = await backend.open(bytes_per_tenant=400, recipe_ttl_seconds=1.0)
    for text in ("gone", "kept"):
        assert await _own(store, "acme", text)
        assert await store.store_imported(*_imported(text), "acme")
    assert await store.pin(_lora("kept").bundle_id, "acme")
    assert await store.pin_imported(_imported("kept")[0].bundle_id, "acme")
    assert not await _own(store, "acme", "more")
    for _ in range(2):
        await asyncio.sleep(1.2)
        await store.prune()
        assert await _used(store) == 200
        assert await _own(store, "acme", "more")


async def test_what_is_done_at_once_goes_over_no_share(backend: StoreBackend) -> None:
    stores = [await backend.open(bytes_per_tenant=300, channels_per_tenant=3, devices_per_tenant=3) for _ in range(2)]
    loras = [_lora(f"{n}") for n in range(8)]
    for n, lora in enumerate(loras):
        await store_lora(stores[0], str(n), lora, None)

    async def count(calls: list[Awaitable[bool]]) -> int:
        return sum(await asyncio.gather(*calls))

    assert await count([stores[n % 2].access.own("acme", lora.recipe_id) for n, lora in enumerate(loras)]) == 3
    imports = [stores[n % 2].store_imported(*_imported(f"{n}"), "other") for n in range(8)]
    assert await count(list(imports)) == 3
    row, event = ChannelRow(1, 1, b"document"), StoredEvent("publish", "", 1)
    channels = [stores[n % 2].channels.write(f"acme.{n}", row, event, "acme") for n in range(8)]
    assert await count(list(channels)) == 3
    devices = [stores[n % 2].devices.store(DeviceEntry("acme.c", f"{n}", 1), b"{}", "acme") for n in range(8)]
    assert await count(list(devices)) == 3
    used = [await each.share("acme") for each in (stores[0].access, stores[0].channels, stores[0].devices)]
    assert used == [Share(300, 300), Share(3, 3), Share(3, 3)]


async def test_channels_of_a_tenant_are_those_under_its_name(backend: StoreBackend) -> None:
    channels = (await backend.open(channels_per_tenant=1)).channels
    row, event = ChannelRow(1, 1, b"document"), StoredEvent("publish", "", 1)
    for name in ("acme", "acme-.a", "acmf.a", "acm.a"):
        assert await channels.write(name, row, event)
    assert await channels.share("acme") == Share(0, 1)
    assert await channels.write("acme.a", row, event, "acme")
    assert not await channels.write("acme.b", row, event, "acme")
    assert await channels.write("acme.a", ChannelRow(2, 2, b"changed"), event, "acme"), "it is no new one"
    assert await channels.write("acme.b", row, event), "the operator may"
    assert await channels.share("acme") == Share(2, 1)
    for name, revision in (("acme.a", 3), ("acme.b", 2)):
        assert await channels.write(name, ChannelRow(revision, revision), StoredEvent("delete", "", 2), "acme")
    assert await channels.share("acme") == Share(0, 1)
    assert await channels.write("acme.c", row, event, "acme")
    assert not await channels.write("acme.a", ChannelRow(4, 4, b"again"), event, "acme"), "it was deleted"


async def test_deleted_channels_of_a_tenant_are_known_up_to_its_share(backend: StoreBackend) -> None:
    """Else a tenant that makes and deletes channels would leave rows without end."""
    channels = (await backend.open(channels_per_tenant=2)).channels
    row, event, gone = ChannelRow(1, 1, b"document"), StoredEvent("publish", "", 1), StoredEvent("delete", "", 1)
    for name, tenant in (("acme.x", ""), ("acme.a", "acme"), ("other.a", "other"), ("acme.b", "acme")):
        assert await channels.write(name, row, event, tenant)
        assert await channels.write(name, ChannelRow(2, 1), gone, tenant)
    assert await channels.list_deleted(2**53) == ["acme.a", "acme.b", "other.a"]
    assert await channels.list_events("acme.x") == []
    assert await channels.load_row("acme.x") == ChannelRow()
    assert await channels.write("acme.a", ChannelRow(3, 2, b"again"), event, "acme"), "it counts on"
    for name in ("acme.c", "acme.d"):
        assert await channels.write(name, row, event, "acme")
        assert await channels.write(name, ChannelRow(2, 1), gone, "acme")
    assert await channels.list_deleted(2**53) == ["acme.c", "acme.d", "other.a"]
    assert await channels.forget("acme.d", 2**53)
    assert await channels.write("acme.a", ChannelRow(4, 2), gone, "acme")
    assert await channels.list_deleted(2**53) == ["acme.a", "acme.c", "other.a"]


async def test_devices_of_a_tenant_are_found_without_those_of_others(backend: StoreBackend) -> None:
    devices = (await backend.open()).devices
    for channel in ("acme.one", "kitchen", "acme-x.one", "acme.two", "other.one"):
        await devices.store(DeviceEntry(channel, "a", 1), b"{}")
    found = await devices.scan(None, 9, None, "acme")
    assert [each.channel for each in found] == ["acme.two", "acme.one"]
    assert [each.channel for each in await devices.scan(None, 9, found[0].seen_at, "acme")] == ["acme.one"]
    assert [each.channel for each in await devices.scan(None, 1, None, "acme")] == ["acme.two"]
    assert [each.channel for each in await devices.scan("kitchen", 9, None, "")] == ["kitchen"]
    assert len(await devices.scan(None, 9)) == 5


async def test_versions_of_a_tenant_take_so_many_bytes_and_the_oldest_of_the_channel_make_room(
    backend: StoreBackend,
) -> None:
    """Else 1,000 channels of 50 versions, each with 1,024 entries, would be 30 GB."""
    channels = (await backend.open(bytes_per_tenant=250)).channels

    async def write(name: str, version: int, size: int = 100, tenant: str = "acme") -> list[int]:
        row = ChannelRow(version, version, bytes(size))
        assert await channels.write(name, row, StoredEvent("publish", "", version), tenant)
        return [each.version for each in await channels.list_versions(name)]

    for name, version in (("acme.a", 1), ("acme.b", 1)):
        assert await write(name, version) == [1]
    assert await write("acme.a", 2) == [2], "the other's stay"
    assert await write("acme.b", 2, 50) == [2, 1]
    assert await write("acme.b", 3, 500) == [3], "never the present one"
    assert await channels.load_kept("acme.a", 2) == bytes(100)
    assert await write("acme.a", 3, 1) == [3]
    assert await write("kitchen", 1, tenant="") == [1]
    assert await write("acme.a", 4, 100, "") == [4, 3], "the operator may"
    assert await channels.write("acme.b", ChannelRow(4, 3), StoredEvent("delete", "", 3), "acme")
    assert await write("acme.a", 5, 149) == [5, 4, 3], "what was deleted counts no more"
    assert await write("acme.a", 6, 1) == [6, 5, 4], "3 was enough"


async def test_events_of_a_tenant_are_so_many_and_the_oldest_of_the_channel_make_room(backend: StoreBackend) -> None:
    """Else a tenant's channels, those that it deleted among them, would keep two million."""
    channels = (await backend.open(events_per_tenant=5, events_per_channel=4, channels_per_tenant=2)).channels
    revisions: dict[str, int] = {}

    async def write(name: str, action: str = "publish", tenant: str = "acme") -> int:
        revisions[name] = revision = revisions.get(name, 0) + 1
        row = ChannelRow(revision, revision, b"" if action == "delete" else b"document")
        assert await channels.write(name, row, StoredEvent(action, "", revision), tenant)
        events = await channels.list_events(name)
        assert [each.version for each in events] == list(range(revision, revision - len(events), -1)), "the newest"
        return len(events)

    assert [await write("acme.a") for _ in range(5)] == [1, 2, 3, 4, 4]
    assert [await write("acme.b") for _ in range(3)] == [1, 1, 1], "its own make room, the other's stay"
    assert [await write("kitchen", tenant="") for _ in range(3)] == [1, 2, 3]
    assert [await write("acme.b", tenant="") for _ in range(2)] == [2, 3], "the operator may"
    assert await write("acme.a") == 2
    assert await write("acme.a", "delete") == 2, "those of a deleted channel count"
    assert await write("acme.b") == 3
    assert await channels.forget("acme.a", 2**53)
    assert [await write("acme.b") for _ in range(2)] == [4, 4]
    for name in ("acme.c", "acme.d", "acme.b"):  # of three that are deleted two are known
        if name != "acme.b":
            await write(name)
        await write(name, "delete")
    assert await channels.list_deleted(2**53) == ["acme.b", "acme.d"]
    assert [len(await channels.list_events(f"acme.{name}")) for name in "bcd"] == [3, 0, 1]
    assert await channels.forget("acme.b", 2**53)
    assert [await write("acme.e") for _ in range(4)] == [1, 2, 3, 4], "who is forgotten makes room"


async def test_device_counts_once_for_each_piece_of_its_report(backend: StoreBackend) -> None:
    """Else 100,000 reports of 128 KiB, sent with one key, would be 12 GB."""
    limits = {"devices_per_tenant": 6, "devices_per_channel": 3, "device_ttl_seconds": 1.0}
    devices = (await backend.open(**limits)).devices

    async def report(device: str, pieces: float, tenant: str = "acme") -> bool:
        return await devices.store(DeviceEntry("acme.c", device, 1), bytes(int(pieces * 4096)), tenant)

    assert await report("a", 1)
    assert await report("b", 2.5)
    assert await devices.share("acme") == Share(4, 6)
    assert not await report("c", 3)
    assert await report("c", 2)
    assert not await report("a", 1.1), "a longer one of a device that is known"
    assert await report("b", 3)
    assert await report("b", 0.1)
    assert await report("a", 3)
    assert await devices.share("acme") == Share(6, 6)
    assert await report("d", 0, ""), "of a channel the oldest makes room, c with both of its places"
    assert await devices.share("acme") == Share(5, 6)
    assert await devices.delete("acme.c", "a")
    assert await devices.share("acme") == Share(2, 6)
    await asyncio.sleep(1.2)
    assert await report("e", 6), "who went silent counts no more"
    assert await devices.share("acme") == Share(6, 6)
    assert await devices.delete("acme.c", "e")
    assert await devices.share("acme") == Share(0, 6)


async def test_devices_of_a_tenant_make_room_when_they_leave(backend: StoreBackend) -> None:
    limits = {"devices_per_tenant": 2, "devices_per_channel": 2, "device_ttl_seconds": 0.5}
    devices = (await backend.open(**limits)).devices

    async def report(channel: str, device: str, tenant: str = "acme") -> bool:
        return await devices.store(DeviceEntry(channel, device, 1), b"{}", tenant)

    assert await report("kitchen", "a", "")
    assert await report("acme.one", "a")
    assert await report("acme.two", "a")
    assert not await report("acme.two", "b")
    assert await report("acme.two", "a"), "it is known"
    assert await devices.load_reports(await devices.scan("acme.two", 9)) == [b"{}"]
    assert await report("acme.two", "b", ""), "the operator may"
    assert await devices.share("acme") == Share(3, 2)
    assert await report("acme.two", "c", ""), "of a channel, the oldest makes room"
    assert await devices.share("acme") == Share(3, 2)
    for device in ("b", "c"):
        assert await devices.delete("acme.two", device)
    assert await devices.share("acme") == Share(1, 2)
    assert await report("acme.two", "d")
    await asyncio.sleep(0.7)
    assert await devices.share("acme") == Share(0, 2)
    assert await report("acme.two", "e")
