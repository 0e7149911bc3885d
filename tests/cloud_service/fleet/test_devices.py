"""Devices over both real stores."""

from dataclasses import replace

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import Caller, calling
from cloud_service.errors import InvalidRequestError, NotFoundError
from cloud_service.fleet import devices as devices_module
from cloud_service.fleet.devices import CandidateCount, DeviceFilter, DevicePage, DeviceService
from cloud_service.limits import MAX_REPORT_BYTES
from cloud_service.store import DeviceEntry, Store
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend, swap


async def _service(store: Store) -> DeviceService:
    """Over a store with one channel."""
    assert await swap(store, "kitchen", 0, 1, b"{}")
    return DeviceService(store.devices, store.channels, AuditLog(store.access))


async def test_device_is_found_with_what_it_said(backend: StoreBackend) -> None:
    service = await _service(await backend.open())
    entry = DeviceEntry("kitchen", "a", 7, ("f" * 64,), {"ring": "canary"}, ("e" * 64,))
    await service.report(entry, b"old")
    await service.report(entry, b"report")
    (found,) = (await service.find(DeviceFilter("kitchen"), 10)).devices
    assert found.report == b"report"
    assert found.entry.seen_at > 0
    assert found.entry == replace(entry, seen_at=found.entry.seen_at)
    assert (await service.find(DeviceFilter(), 10)).devices == (found,)
    assert (await service.find(DeviceFilter("garden"), 10)).devices == ()
    await service.delete("kitchen", "a")
    with pytest.raises(NotFoundError):
        await service.delete("kitchen", "a")
    assert (await service.find(DeviceFilter(), 10)).devices == ()


async def test_device_that_somebody_had_forgotten_is_in_the_audit_log(backend: StoreBackend) -> None:
    store = await backend.open()
    service = await _service(store)
    await service.report(DeviceEntry("kitchen", "a", 1), b"{}")
    await service.delete("kitchen", "a")
    ((entry,), _) = await AuditLog(store.access).page(10)
    assert (entry.action, entry.target) == ("device.delete", {"channel": "kitchen", "device": "a"})


async def test_those_that_have_a_version_are_counted_and_those_of_them_that_fail_on_it(backend: StoreBackend) -> None:
    service = await _service(await backend.open())
    for number, (version, failed) in enumerate([(1, "x"), (2, ""), (2, "x"), (2, "y"), (3, "x")]):
        await service.report(DeviceEntry("kitchen", f"d{number}", version, tuple(failed)), b"{}")
    assert await service.count_with("kitchen", 2, ("x", "z")) == CandidateCount(4, 2, 0)
    count = await service.count("kitchen")
    assert (count.devices, count.failing, count.versions) == (5, 4, {1: 1, 2: 3, 3: 1})


async def test_page_of_a_tenant_tells_nothing_of_the_devices_of_others(
    backend: StoreBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by pages without devices, nor by the time where the next page begins."""
    monkeypatch.setattr(devices_module, "MAX_DEVICES_SCANNED", 2)
    store = await backend.open()
    service = await _service(store)
    assert await swap(store, "acme.c", 0, 1, b"{}")
    await service.report(DeviceEntry("acme.c", "own", 1), b"{}")
    for number in range(5):
        await service.report(DeviceEntry("kitchen", f"d{number}", 1), b"{}")
    with calling(Caller("key", tenant="acme")):
        page = await service.find(DeviceFilter(), 10)
        assert ([each.entry.device_id for each in page.devices], page.next_before) == (["own"], None)
        assert await service.find(DeviceFilter(seen_before=page.devices[0].entry.seen_at), 10) == DevicePage((), None)


async def test_page_looks_at_a_bounded_number_of_devices(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices_module, "MAX_DEVICES_SCANNED", 4)
    monkeypatch.setattr(devices_module, "_CHUNK", 3)
    service = await _service(await sqlite.open())
    for number in range(6):
        await service.report(DeviceEntry("kitchen", f"d{number}", 1, ("x",) if number == 0 else ()), b"{}")
    page = await service.find(DeviceFilter(failing=True), 10)
    assert page.devices == ()
    assert page.next_before is not None
    page = await service.find(DeviceFilter(failing=True, seen_before=page.next_before), 10)
    assert ([each.entry.device_id for each in page.devices], page.next_before) == (["d0"], None)


async def test_report_over_the_limit_is_refused(backend: StoreBackend) -> None:
    service = await _service(await backend.open())
    entry = DeviceEntry("kitchen", "device", 1)
    await service.report(entry, b"x" * MAX_REPORT_BYTES)
    with pytest.raises(InvalidRequestError, match="at most 131072 bytes as JSON, found 131073"):
        await service.report(entry, b"x" * (MAX_REPORT_BYTES + 1))


async def test_report_about_a_channel_that_never_was_is_refused_and_one_that_is_deleted_keeps_its_devices(
    backend: StoreBackend,
) -> None:
    store = await backend.open()
    service = await _service(store)
    for channel in ("made-up", "kitchen2"):
        with pytest.raises(NotFoundError, match=f"no channel '{channel}'"):
            await service.report(DeviceEntry(channel, "a", 1), b"report")
    await swap(store, "kitchen", 1, 1, b"")
    await service.report(DeviceEntry("kitchen", "a", 1), b"report")
    assert [each.entry.channel for each in (await service.find(DeviceFilter(), 10)).devices] == ["kitchen"]


async def test_channel_that_is_known_costs_a_report_nothing(
    sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await sqlite.open()
    service = await _service(store)
    looked: list[str] = []
    load_version = store.channels.load_version

    async def load(name: str) -> int | None:
        looked.append(name)
        return await load_version(name)

    monkeypatch.setattr(store.channels, "load_version", load)
    for number in range(3):
        await service.report(DeviceEntry("kitchen", f"d{number}", 1), b"report")
        with pytest.raises(NotFoundError):
            await service.report(DeviceEntry("made-up", "d", 1), b"report")
    assert looked == ["kitchen", "made-up", "made-up", "made-up"], "and one that is not may appear"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A", "a\n", "a" * 254, "ü"])
async def test_names_that_are_none_are_refused(sqlite: SqliteBackend, name: str) -> None:
    service = await _service(await sqlite.open())
    for call in (
        service.report(DeviceEntry("c", name, 1), b""),
        service.report(DeviceEntry(name, "d", 1), b""),
        service.find(DeviceFilter(name), 1),
        service.count(name),
        service.delete(name, "d"),
        service.delete("c", name),
    ):
        with pytest.raises(InvalidRequestError):
            await call
