"""Single flight: when several callers ask for the same thing at the same time, one does the work and the others wait.

Within a process, equal calls share one task. Between replicas, a lease in the store decides who works; the others look
for the result in the store. The owner renews its lease; if the owner dies, the lease ends soon and another replica
takes over. Leases only save work: if two replicas do the same work, they make the same bytes.

The work does not end when the caller who began it leaves, but when the last one who waits for it leaves.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from cloud_service.errors import DeadlineError, DrainingError, StoreUnavailableError
from cloud_service.store import LeaseStore

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
"""After so long another replica takes over from one that died."""

_FIRST_POLL_SECONDS = 0.01
_LAST_POLL_SECONDS = 0.2


@dataclass(slots=True, eq=False)
class _Flight(Generic[_T]):
    task: "asyncio.Task[_T]"
    waiting: int = 0


class SingleFlight(Generic[_T]):
    """The work in progress in this process, by key."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight[_T]] = {}

    async def join(
        self, key: str, work: Callable[[], Coroutine[Any, Any, _T]], timeout_seconds: float
    ) -> tuple[_T, bool]:
        """The result of `work`, which this call or an equal one began, and whether this call began it.

        Raises:
            DeadlineError: Not ready within `timeout_seconds`; the work goes on.
            DrainingError: `settle` ended the work.
            Exception: Whatever the work raised; every caller who waits gets it.
        """
        flight = self._flights.get(key)
        began = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.waiting += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(flight.task), began
        except TimeoutError:
            raise DeadlineError(f"no answer within {timeout_seconds:g} s", "the service may be overloaded") from None
        except asyncio.CancelledError:
            if flight.task.cancelled():
                raise DrainingError("the service shut down before the answer was ready", "ask again") from None
            if flight.waiting == 1:
                # Nobody waits for it any more. Who asks for the same from now on begins anew.
                self._forget(key, flight)
                flight.task.cancel()
            raise
        finally:
            flight.waiting -= 1

    def __contains__(self, key: str) -> bool:
        """Whether a call would join work that goes on."""
        return key in self._flights

    async def settle(self, timeout_seconds: float) -> None:
        """Wait for the work in progress, then cancel what is left."""
        if tasks := {flight.task for flight in self._flights.values()}:
            _, late = await asyncio.wait(tasks, timeout=timeout_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _landed(self, key: str, flight: _Flight[_T]) -> None:
        self._forget(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # marks it as retrieved, because every caller may have left

    def _forget(self, key: str, flight: _Flight[_T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


class SharedLookups(Generic[_T]):
    """Looks things up by key. Equal look-ups share one, which begins after all of them were asked for.

    So an answer is never older than its question, and many who ask for the same at a time cost the store little.

    Args:
        look: Looks one up.
    """

    def __init__(self, look: Callable[[str], Coroutine[Any, Any, _T]]) -> None:
        self._look = look
        self._running: dict[str, asyncio.Task[_T]] = {}
        self._next: dict[str, asyncio.Task[_T]] = {}

    async def find(self, key: str) -> _T:
        """What is there now.

        Raises:
            Exception: Whatever the look-up raised; every caller who waits gets it.
        """
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._begin(key, self._running.get(key)))
            # Marks it as retrieved, because every caller may have left.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _begin(self, key: str, before: "asyncio.Task[_T] | None") -> _T:
        if before is not None:
            await asyncio.wait({before})
        # Whoever asks from now on waits for the next one.
        task = self._running[key] = self._next.pop(key)
        try:
            return await self._look(key)
        finally:
            if self._running[key] is task:
                del self._running[key]


class Leases:
    """Lets one replica work for all.

    Args:
        store: Where leases live.
        seconds: How long a lease outlives its owner.
    """

    def __init__(self, store: LeaseStore, seconds: float) -> None:
        self._store = store
        self._seconds = seconds

    async def run(
        self, key: str, find: Callable[[], Awaitable[_T | None]], make: Callable[[], Awaitable[_T]]
    ) -> tuple[_T, bool]:
        """The result that `find` finds, or that of `make` if this replica has the lease; and whether it was made here.

        Call it when `find` has just found nothing. This waits as long as another replica has the lease, so callers need
        a deadline of their own.
        """
        owner = uuid.uuid4().hex
        pause, waited = _FIRST_POLL_SECONDS, False
        while not await self._store.acquire_lease(key, owner, self._seconds):
            waited = True
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_POLL_SECONDS)
            if (found := await find()) is not None:
                return found, False
        async with self._lease(key, owner):
            # The previous owner may have finished between our last `find` and now.
            if waited and (found := await find()) is not None:
                return found, False
            return await make(), True

    @asynccontextmanager
    async def _lease(self, key: str, owner: str) -> AsyncIterator[None]:
        renewals: list[asyncio.Task[None]] = []
        # Most work is done before the first renewal is due, and needs no task for it.
        timer = asyncio.get_running_loop().call_later(
            self._seconds / 3, lambda: renewals.append(asyncio.create_task(self._renew(key, owner)))
        )
        try:
            yield
        finally:
            timer.cancel()
            for renewal in renewals:
                renewal.cancel()
                await asyncio.gather(renewal, return_exceptions=True)
            try:
                await self._store.release_lease(key, owner)
            except StoreUnavailableError:
                _log.warning("lease_not_released", seconds=self._seconds)  # it expires

    async def _renew(self, key: str, owner: str) -> None:
        while True:
            try:
                await self._store.acquire_lease(key, owner, self._seconds)
            except StoreUnavailableError:
                _log.warning("lease_not_renewed", seconds=self._seconds)
            await asyncio.sleep(self._seconds / 3)
