"""The connection to Redis: a server that is away, restarts or hangs, and more calls than connections."""

import asyncio

import pytest
from redis.asyncio import Redis

from cloud_service.errors import StoreUnavailableError
from cloud_service.store.waiting import together
from tests.cloud_service.store_backends import RedisBackend, swap


async def test_redis_that_went_away_is_store_unavailable_and_comes_back(redis: RedisBackend) -> None:
    store = await redis.open()
    await swap(store, "c", 0, 1, b"document")
    await redis.kill()
    for call in (
        store.verify_writable(),
        store.find_generation("key"),
        store.channels.load("c"),
        store.acquire_lease("k", "me", 1),
    ):
        with pytest.raises(StoreUnavailableError):
            await call
    await redis.restart()
    assert await store.channels.load("c") == b"document"


async def test_more_calls_than_connections_wait_and_all_connections_are_closed(redis: RedisBackend) -> None:
    store = await redis.open(timeout_seconds=60.0)
    await swap(store, "c", 0, 1, b"document")
    assert await asyncio.gather(*(store.channels.load("c") for _ in range(300))) == [b"document"] * 300
    async with Redis.from_url(redis.url) as plain:
        assert len(await plain.client_list()) < 100
        await store.aclose()
        for _ in range(100):  # the server notices in its own time
            if len(clients := await plain.client_list()) == 1:
                break
            await asyncio.sleep(0.02)
        assert len(clients) == 1


async def test_connections_that_a_restart_ended_fail_no_call(redis: RedisBackend) -> None:
    """They are in the pool still, and their next call finds them closed."""
    store = await redis.open()
    await swap(store, "c", 0, 1, b"document")
    await asyncio.gather(*(store.channels.load("c") for _ in range(40)))
    await redis.restart()
    assert await asyncio.gather(*(store.channels.load("c") for _ in range(40))) == [b"document"] * 40
    assert await store.acquire_lease("k", "me", 5)


async def test_server_that_hangs_is_given_up_after_one_time(redis: RedisBackend) -> None:
    store = await redis.open(timeout_seconds=0.5)
    await store.channels.load("c")
    redis.pause()
    began = asyncio.get_running_loop().time()
    with together():
        for _ in range(4):
            with pytest.raises(StoreUnavailableError):
                await store.channels.load("c")
    assert asyncio.get_running_loop().time() - began < 1
    redis.go_on()
    assert await store.channels.load("c") is None
