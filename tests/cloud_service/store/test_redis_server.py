"""The connection to Redis: a server that is away, restarts or hangs, and more calls than connections."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cloud_service.bootstrap import open_cloud
from cloud_service.errors import StoreUnavailableError
from cloud_service.store.redis_server import RedisServer
from cloud_service.store.waiting import together
from loragen.web.errors import ConfigurationError
from tests.cloud_service.clouds import settings_for
from tests.cloud_service.fake_generator import FakeGenerator
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


async def test_call_ends_whenever_it_is_cancelled(redis: RedisBackend) -> None:
    """Whoever calls in a loop would go on, and its owner would wait for its end."""
    store = await redis.open()
    await store.acquire_lease("k", "me", 5)

    async def renew() -> None:
        while True:
            await store.acquire_lease("k", "me", 5)

    for steps in range(40):
        renewing = asyncio.create_task(renew())
        for _ in range(steps):
            await asyncio.sleep(0)
        renewing.cancel()
        try:
            await asyncio.wait({renewing}, timeout=2)
            assert renewing.cancelled(), f"goes on when it is cancelled after {steps} steps of the loop"
        finally:
            renewing.cancel()


async def test_time_out_that_the_client_loses_ends_the_call() -> None:
    server = RedisServer("redis://127.0.0.1:1", 0.05)

    async def lose() -> bytes:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return b"late"

    with pytest.raises(StoreUnavailableError):
        await server.run(lose())


async def test_cluster_is_refused_by_name_at_the_start(
    redis: RedisBackend, tmp_path: Path, generator: FakeGenerator
) -> None:
    """It would answer most calls with the address of another server."""
    await redis.open(cluster=True)
    with pytest.raises(ConfigurationError, match="found Redis Cluster"):
        async with open_cloud(settings_for(tmp_path, store_url=redis.url), [generator]):
            pass


@pytest.mark.parametrize(
    ("about", "found"),
    [
        ({"redis_version": "7.4.0", "redis_mode": "standalone", "dragonfly_version": "df-v1.30.0"}, "Dragonfly"),
        ({"redis_version": "6.2.14", "redis_mode": "standalone"}, "Redis 6.2.14"),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, "Redis Sentinel"),
    ],
)
async def test_server_that_scripts_do_not_run_on_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, about: dict[str, str], found: str
) -> None:
    server = RedisServer("redis://127.0.0.1:1", 1.0)

    async def info(section: str) -> dict[str, str]:
        return about

    monkeypatch.setattr(server.client, "info", info)
    with pytest.raises(ConfigurationError, match=f"found {found}"):
        await server.verify_supported()


async def test_server_that_is_away_or_does_not_say_what_it_is_stops_no_start(redis: RedisBackend) -> None:
    await (await redis.open()).verify_supported()
    await redis.kill()
    await (await redis.open(running=False)).verify_supported()
