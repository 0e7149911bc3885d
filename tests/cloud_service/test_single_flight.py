"""One caller works, the others wait: within a process, and between replicas."""

import asyncio

import pytest

from cloud_service.errors import DeadlineError, DrainingError
from cloud_service.single_flight import Leases, SharedLookups, SingleFlight
from tests.cloud_service.store_backends import StoreBackend


class _Work:
    """Counts how often it is done; waits until `finish` is set."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls = self.cancelled = 0
        self.finish = asyncio.Event()
        self._error = error

    async def __call__(self) -> int:
        self.calls += 1
        try:
            await self.finish.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self._error is not None:
            raise self._error
        return self.calls


async def test_equal_calls_share_one_result_and_one_of_them_began_it() -> None:
    single_flight, work = SingleFlight[int](), _Work()
    calls = [asyncio.create_task(single_flight.join("key", work, 5)) for _ in range(3)]
    await asyncio.sleep(0)
    work.finish.set()
    assert sorted(await asyncio.gather(*calls)) == [(1, False), (1, False), (1, True)]
    assert await single_flight.join("key", work, 5) == (2, True)


async def test_other_keys_are_other_work() -> None:
    single_flight, work = SingleFlight[int](), _Work()
    work.finish.set()
    await asyncio.gather(*(single_flight.join(key, work, 5) for key in "ab"))
    assert work.calls == 2


class _Value:
    """Something that changes, and looks at it that wait until `finish` is set."""

    def __init__(self) -> None:
        self.now = 1
        self.looks: list[str] = []
        self.looked = asyncio.Event()
        self.finish = asyncio.Event()
        self.error: Exception | None = None

    async def look(self, key: str) -> int:
        self.looks.append(key)
        self.looked.set()
        found = self.now
        await self.finish.wait()
        if self.error is not None:
            raise self.error
        return found


async def test_lookups_at_a_time_are_one_and_none_is_older_than_its_question() -> None:
    value = _Value()
    lookups = SharedLookups(value.look)
    early = [asyncio.create_task(lookups.find("key")) for _ in range(3)]
    await value.looked.wait()
    value.now = 2
    late = [asyncio.create_task(lookups.find("key")) for _ in range(3)]
    await asyncio.sleep(0)
    value.now = 3
    value.finish.set()
    assert (await asyncio.gather(*early), await asyncio.gather(*late)) == ([1, 1, 1], [3, 3, 3])
    assert value.looks == ["key", "key"]
    assert await lookups.find("other") == 3
    assert value.looks == ["key", "key", "other"]


async def test_lookup_that_fails_is_reported_to_all_and_the_next_begins_anew() -> None:
    value = _Value()
    lookups = SharedLookups(value.look)
    value.error = ValueError("broken")
    value.finish.set()
    failed = await asyncio.gather(*(lookups.find("key") for _ in range(2)), return_exceptions=True)
    assert [str(each) for each in failed] == ["broken", "broken"]
    value.error = None
    assert await lookups.find("key") == 1


async def test_lookup_goes_on_when_one_who_asked_has_left() -> None:
    value = _Value()
    lookups = SharedLookups(value.look)
    leaving, staying = (asyncio.create_task(lookups.find("key")) for _ in range(2))
    await value.looked.wait()
    leaving.cancel()
    value.finish.set()
    assert await staying == 1
    assert (await asyncio.gather(leaving, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_error_reaches_every_caller() -> None:
    single_flight, work = SingleFlight[int](), _Work(ValueError("broken"))
    calls = [asyncio.create_task(single_flight.join("key", work, 5)) for _ in range(2)]
    await asyncio.sleep(0)
    work.finish.set()
    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [ValueError] * 2


async def test_work_that_nobody_waits_for_any_more_is_cancelled() -> None:
    single_flight, work = SingleFlight[int](), _Work()
    first, second = (asyncio.create_task(single_flight.join("key", work, 5)) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    assert work.cancelled == 0
    second.cancel()
    anew = asyncio.create_task(single_flight.join("key", work, 5))
    await asyncio.sleep(0.01)
    assert work.cancelled == 1
    work.finish.set()
    assert await anew == (2, True)


async def test_work_that_the_shutdown_ends_tells_so() -> None:
    single_flight, work = SingleFlight[int](), _Work()
    waiting = asyncio.create_task(single_flight.join("key", work, 5))
    await asyncio.sleep(0.01)
    await single_flight.settle(0)
    with pytest.raises(DrainingError):
        await waiting


async def test_work_goes_on_after_the_deadline_of_a_caller() -> None:
    single_flight, work = SingleFlight[int](), _Work()
    with pytest.raises(DeadlineError):
        await single_flight.join("key", work, 0.01)
    waiting = asyncio.create_task(single_flight.join("key", work, 5))
    await asyncio.sleep(0)
    work.finish.set()
    assert await waiting == (1, False)


async def test_replica_without_the_lease_finds_what_the_other_made(backend: StoreBackend) -> None:
    replicas = [Leases(await backend.open(), 5) for _ in range(2)]
    made: list[str] = []

    async def find() -> str | None:
        return made[0] if made else None

    async def make() -> str:
        await asyncio.sleep(0.1)
        made.append("result")
        return made[0]

    results = await asyncio.gather(*(leases.run("key", find, make) for leases in replicas))
    assert sorted(results) == [("result", False), ("result", True)]
    assert made == ["result"]


async def test_lease_is_given_back_when_the_work_fails(backend: StoreBackend) -> None:
    store = await backend.open()

    async def find() -> None:
        return None

    async def make() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Leases(store, 60).run("key", find, make)
    assert await store.acquire_lease("key", "another", 1)
