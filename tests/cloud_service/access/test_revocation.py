"""What goes on for long ends with the key that asked for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cloud_service.access.caller import Caller, calling
from cloud_service.access.keys import ApiKey, encode_key
from cloud_service.access.revocation import Revocation
from cloud_service.access.scopes import Scope
from cloud_service.errors import StoreUnavailableError, UnauthenticatedError
from tests.cloud_service.access.fake_store import MemoryStore

NOW = 1_000.0


def _record(key_id: str, *, expires_at: int | None = None, revoked_at: int | None = None) -> bytes:
    return encode_key(ApiKey(key_id, "0" * 64, "test", (Scope.GENERATE,), "", "", 1, expires_at, revoked_at))


class World:
    """Keys, and what goes on for them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.revocation = Revocation(self.store, lambda: NOW)

    @asynccontextmanager
    async def working(self, *key_ids: str) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Something goes on for each of these keys, which are good at first."""
        tasks = []
        for key_id in key_ids:
            self.store.keys[key_id] = _record(key_id)
            with calling(Caller(key_id)):
                tasks.append(asyncio.create_task(self._work()))
        await asyncio.sleep(0)
        yield tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not self.revocation._going_on

    async def _work(self) -> None:
        async with self.revocation.unless_refused():
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    "record", [_record("one", revoked_at=999), _record("one", expires_at=999), b"damaged", None], ids=str
)
async def test_work_ends_with_its_key_and_other_work_goes_on(record: bytes | None) -> None:
    world = World()
    async with world.working("one", "two", "one") as (first, other, second):
        await world.revocation.look()
        if record is None:
            del world.store.keys["one"]
        else:
            world.store.keys["one"] = record
        await world.revocation.look()
        await world.revocation.look()  # while they still clean up
        for task in (first, second):
            with pytest.raises(UnauthenticatedError, match="one is not good any more") as caught:
                await asyncio.wait_for(task, 5)
            assert caught.value.code == "invalid_api_key"
        assert not other.done()


async def test_key_with_an_end_in_the_future_is_good() -> None:
    world = World()
    async with world.working("one") as (task,):
        world.store.keys["one"] = _record("one", expires_at=1_001)
        await world.revocation.look()
        await asyncio.sleep(0)
        assert not task.done()


async def test_store_that_is_away_ends_nothing() -> None:
    world = World()
    async with world.working("one") as (task,):
        world.store.away = True
        with pytest.raises(StoreUnavailableError):
            await world.revocation.look()
        await asyncio.sleep(0)
        assert not task.done()


async def test_work_without_a_key_is_nobodys_and_time_that_is_up_inside_stays_that() -> None:
    world = World()
    async with world.revocation.unless_refused():
        assert not world.revocation._going_on
    with calling(Caller("one")), pytest.raises(TimeoutError):
        async with world.revocation.unless_refused():
            raise TimeoutError
    assert not world.revocation._going_on


async def test_work_with_a_token_ends_when_that_expires_and_asks_no_store() -> None:
    world = World()
    with calling(Caller("oidc:ada", expires_at=NOW + 1_000)):
        async with world.revocation.unless_refused():
            await world.revocation.look()
            await asyncio.sleep(0)
            assert world.store.loads == 0
    with calling(Caller("oidc:ada", expires_at=NOW - 1)), pytest.raises(UnauthenticatedError) as caught:
        async with world.revocation.unless_refused():
            await asyncio.Event().wait()
    assert caught.value.code == "invalid_token"
