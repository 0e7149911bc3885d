"""What every adapter promises of sessions; each test runs against Redis and against SQLite."""

import asyncio

from tests.cloud_service.store_backends import StoreBackend

DIGEST = "a" * 64


async def test_session_is_found_by_every_replica_until_it_ends(backend: StoreBackend) -> None:
    first, second = await backend.open(), await backend.open()
    assert await first.sessions.load_session(DIGEST) is None
    await first.sessions.store_session(DIGEST, "key000000001", 60)
    assert await second.sessions.load_session(DIGEST) == "key000000001"
    assert await second.sessions.load_session("b" * 64) is None
    await second.sessions.delete_session(DIGEST)
    await second.sessions.delete_session(DIGEST)
    assert await first.sessions.load_session(DIGEST) is None


async def test_session_outlives_a_restart_and_not_its_time(backend: StoreBackend) -> None:
    store = await backend.open()
    await store.sessions.store_session("b" * 64, "key000000002", 60)
    await store.sessions.store_session(DIGEST, "key000000001", 1)
    await backend.restart()
    store = await backend.open()
    for _ in range(200):
        if await store.sessions.load_session(DIGEST) is None:
            break
        await asyncio.sleep(0.05)
    assert await store.sessions.load_session(DIGEST) is None
    assert await store.sessions.load_session("b" * 64) == "key000000002"
