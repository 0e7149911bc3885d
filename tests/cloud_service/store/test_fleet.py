"""What every store of channels and devices promises; each test runs against Redis and against SQLite."""

import asyncio

from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import StoreBackend, load_reports, store_report, swap


async def test_channel_changes_only_from_the_expected_version(backend: StoreBackend) -> None:
    store = await backend.open()
    assert not await swap(store, "c", 1, 2, b"two")
    assert await swap(store, "c", 0, 1, b"one")
    assert not await swap(store, "c", 0, 1, b"other")
    assert await store.channels.load("c") == b"one"
    assert await swap(store, "c", 1, 2, b"two")
    assert await store.channels.load("c") == b"two"
    assert await store.channels.load_version("c") == 2
    assert await store.channels.load_digest("c") == sha256_hex(b"two")


async def test_of_concurrent_swaps_exactly_one_wins(backend: StoreBackend) -> None:
    stores = [await backend.open() for _ in range(3)]
    won = await asyncio.gather(*(swap(stores[i % 3], "c", 0, 1, str(i).encode()) for i in range(12)))
    assert sum(won) == 1
    assert await stores[0].channels.load("c") == str(won.index(True)).encode()


async def test_devices_are_listed_by_channel_most_recent_first(backend: StoreBackend) -> None:
    store = await backend.open()
    for second, (channel, device) in enumerate([("c", "a"), ("c", "b"), ("d", "a"), ("c", "a")]):
        await store_report(store, channel, device, f"{device}{second}".encode())
        await asyncio.sleep(0.01)
    assert [report for _, report in await load_reports(store, "c", 10)] == [b"a3", b"b1"]
    assert [report for _, report in await load_reports(store, "d", 10)] == [b"a2"]
    (first,) = await load_reports(store, "c", 1)
    (second,) = await load_reports(store, "c", 1, first[0])
    assert (first[1], second[1]) == (b"a3", b"b1")
    assert await load_reports(store, "c", 1, second[0]) == []


async def test_channel_keeps_the_reports_of_so_many_devices_and_not_more(backend: StoreBackend) -> None:
    store = await backend.open(devices_per_channel=3)
    for number in range(6):
        for channel in ("c", "d"):
            await store_report(store, channel, f"device-{number}", b"%d" % number)
    assert [report for _, report in await load_reports(store, "c", 10)] == [b"5", b"4", b"3"]
    await store_report(store, "c", "device-3", b"again")
    assert [report for _, report in await load_reports(store, "c", 10)] == [b"again", b"5", b"4"]
    assert len(await load_reports(store, "d", 10)) == 3


async def test_silent_devices_leave_the_listing(backend: StoreBackend) -> None:
    store = await backend.open(device_ttl_seconds=0.2)
    await store_report(store, "c", "a", b"report")
    await asyncio.sleep(0.3)
    assert await load_reports(store, "c", 10) == []
