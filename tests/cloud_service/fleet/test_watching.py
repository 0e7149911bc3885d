"""Watches hear of every change, wherever it was made."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from cloud_service.errors import (
    OverloadedError,
)
from cloud_service.fleet import watching
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.watching import ChannelWatch
from cloud_service.store import Store
from tests.cloud_service.clouds import eventually
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import generate_lora, make_channels
from tests.cloud_service.store_backends import RedisBackend, SqliteBackend, StoreBackend


def _channels(store: Store) -> ChannelService:
    return make_channels(store)


async def _next(versions: AsyncIterator[int]) -> int:
    async with asyncio.timeout(5):
        return await anext(versions)


async def _first(versions: AsyncGenerator[int, None]) -> int:
    """The first version, of a watch that is then closed: an open one goes on looking into a store that is closed."""
    async with aclosing(versions):
        return await _next(versions)


async def test_watch_tells_the_present_version_then_each_change_even_from_another_replica(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    stores = [await backend.open(), await backend.open()]
    lora = await generate_lora(stores[0], generator, "sort the mail")
    here, there = _channels(stores[0]), _channels(stores[1])
    await here.publish("kitchen", "a", lora.bundle_id)
    versions = here.watch("kitchen", 0)
    assert await _next(versions) == 1
    await here.publish("kitchen", "b", lora.bundle_id)
    assert await _next(versions) == 2
    await there.publish("kitchen", "c", lora.bundle_id)
    assert await _next(versions) == 3
    here.drain()
    with pytest.raises(StopAsyncIteration):
        await _next(versions)


async def test_watch_of_a_known_version_waits_for_the_next(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    store = await sqlite.open()
    lora = await generate_lora(store, generator, "sort the mail")
    channels = _channels(store)
    await channels.publish("kitchen", "a", lora.bundle_id)
    waiting = asyncio.create_task(_first(channels.watch("kitchen", 1)))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    await channels.publish("kitchen", "b", lora.bundle_id)
    assert await waiting == 2
    channels.drain()


async def test_watch_outlives_an_outage_of_the_store(redis: RedisBackend, generator: FakeGenerator) -> None:
    store = await redis.open()
    lora = await generate_lora(store, generator, "sort the mail")
    channels = _channels(store)
    waiting = asyncio.create_task(_first(channels.watch("kitchen", 0)))
    await asyncio.sleep(0.1)
    await redis.kill()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await redis.restart()
    await channels.publish("kitchen", "mail", lora.bundle_id)
    assert await waiting == 1
    channels.drain()


async def test_channel_that_is_not_there_is_looked_up_more_and_more_seldom(
    sqlite: SqliteBackend, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes up names must not have the store read for each of them all the time."""
    monkeypatch.setattr(watching, "_LONGEST_SECONDS", 0.8)
    store = await sqlite.open()
    looked: list[str] = []
    load = store.channels.load_version

    async def counted(name: str) -> int | None:
        looked.append(name)
        return await load(name)

    monkeypatch.setattr(store.channels, "load_version", counted)
    lora = await generate_lora(store, generator, "sort the mail")
    channels, other_replica = make_channels(store), make_channels(store)
    await channels.publish("there", "mail", lora.bundle_id)
    names = ("there", *(f"no-{number}" for number in range(5)))
    waiting = [asyncio.create_task(_first(channels.watch(name, 1))) for name in names]
    await asyncio.sleep(1.0)
    looks = Counter(looked)
    assert looks["there"] >= 8
    assert max(looks[name] for name in names[1:]) <= 6

    made = asyncio.create_task(_first(channels.watch("no-0", 0)))
    await other_replica.publish("no-0", "mail", lora.bundle_id)
    assert await made == 1, "another replica's channel is heard of, if later"
    await channels.publish("no-1", "mail", lora.bundle_id)
    await channels.publish("no-1", "post", lora.bundle_id)
    async with asyncio.timeout(0.2):
        assert await waiting[2] == 2, "this one's at once"
    channels.drain()
    await asyncio.gather(*waiting, return_exceptions=True)


class _Versions:
    """Of one channel, in a store that counts its reads."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.looks = 0

    async def load_version(self, name: str) -> int | None:
        self.looks += 1
        return self.version


async def _watched_in_vain() -> tuple[Any, ChannelWatch, asyncio.Task[int], AsyncIterator[int]]:
    """A watch of a channel that is not there, which is looked up about once in 0.6 s by now."""
    store: Any = _Versions()
    watch = ChannelWatch(store, 0.02)
    versions = watch.versions("kitchen", 0)
    waiting = asyncio.create_task(_next(versions))
    await eventually(lambda: store.looks == 5)
    return store, watch, waiting, versions


async def test_channel_that_is_made_here_is_looked_up_as_often_as_any_from_then_on() -> None:
    store, watch, waiting, versions = await _watched_in_vain()
    store.version = 1
    watch.announce("kitchen", 1)
    assert await waiting == 1
    store.version = 2
    async with asyncio.timeout(0.3):
        assert await anext(versions) == 2, "of another replica"
    watch.drain()
    assert [each async for each in versions] == []


async def test_who_begins_to_watch_has_the_channel_looked_up_but_once_an_interval() -> None:
    store, watch, waiting, versions = await _watched_in_vain()
    others = [asyncio.create_task(_next(watch.versions("kitchen", 0))) for _ in range(50)]
    await asyncio.sleep(0.1)
    assert 6 <= store.looks <= 7
    store.version = 1
    async with asyncio.timeout(0.3):
        assert await _next(watch.versions("kitchen", 0)) == 1
    assert await asyncio.gather(waiting, *others) == [1] * 51
    watch.drain()
    assert [each async for each in versions] == []


async def test_watch_over_the_limit_is_refused(sqlite: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.fleet.watching.MAX_WATCHES", 1)
    channels = _channels(await sqlite.open())
    first = asyncio.create_task(_first(channels.watch("kitchen", 0)))
    await asyncio.sleep(0.05)
    with pytest.raises(OverloadedError):
        await _first(channels.watch("kitchen", 0))
    channels.drain()
    await asyncio.gather(first, return_exceptions=True)
    assert channels.watches == 0


async def test_device_that_has_a_candidate_is_not_woken_for_the_channel(
    sqlite: SqliteBackend, generator: FakeGenerator
) -> None:
    store = await sqlite.open()
    lora = await generate_lora(store, generator, "sort the mail")
    channels = _channels(store)
    await channels.publish("kitchen", "a", lora.bundle_id)
    waiting = asyncio.create_task(_first(channels.watch("kitchen", 2)))
    await asyncio.sleep(0.15)
    assert not waiting.done()
    await channels.publish("kitchen", "b", lora.bundle_id)
    await channels.publish("kitchen", "c", lora.bundle_id)
    assert await waiting == 3
    channels.drain()
