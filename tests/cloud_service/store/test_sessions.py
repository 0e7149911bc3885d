"""What every adapter promises of sessions; each test runs against Redis and against SQLite."""

import asyncio

from tests.cloud_service.store_backends import StoreBackend

DIGEST = "a" * 64


async def test_session_is_found_by_every_replica_until_it_ends(backend: StoreBackend) -> None:
    first, second = await backend.open(), await backend.open()
    assert await first.sessions.load_session(DIGEST) is None
    await first.sessions.store_session(DIGEST, "key000000001", 60, 10)
    assert await second.sessions.load_session(DIGEST) == "key000000001"
    assert await second.sessions.load_session("b" * 64) is None
    await second.sessions.delete_session(DIGEST)
    await second.sessions.delete_session(DIGEST)
    assert await first.sessions.load_session(DIGEST) is None


async def test_session_outlives_a_restart_and_not_its_time(backend: StoreBackend) -> None:
    store = await backend.open()
    await store.sessions.store_session("b" * 64, "key000000002", 60, 10)
    await store.sessions.store_session(DIGEST, "key000000001", 1, 10)
    await backend.restart()
    store = await backend.open()
    for _ in range(200):
        if await store.sessions.load_session(DIGEST) is None:
            break
        await asyncio.sleep(0.05)
    assert await store.sessions.load_session(DIGEST) is None
    assert await store.sessions.load_session("b" * 64) == "key000000002"


async def test_oldest_sessions_of_a_key_make_room_and_those_of_others_stay(backend: StoreBackend) -> None:
    sessions = (await backend.open()).sessions
    await sessions.store_session("f" * 64, "key000000002", 60, 3)
    digests = [str(number) * 64 for number in range(5)]
    for number, digest in enumerate(digests):
        await sessions.store_session(digest, "key000000001", 60 + number, 3)
    await sessions.store_session(digests[-1], "key000000001", 70, 3)
    assert [await sessions.load_session(digest) for digest in digests] == [None, None, *["key000000001"] * 3]
    assert await sessions.load_session("f" * 64) == "key000000002"
