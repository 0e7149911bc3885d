"""The refiner: one bounded queue and one thread in front of all tuners.

Rules:
- Refinements run one at a time, on a thread of their own with few threads of computation and, on Linux, a low priority:
  generations, which take milliseconds, never wait for them.
- A place in the queue is taken before anything else is done for a request; a full queue refuses at once.
- The weights of an edge model are loaded for its first refinement and stay in memory.
- Between two steps the work ends when nobody wants it any more.

How the budget of a refinement is kept is the tuner's business.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Protocol, Self, TypeVar

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.access.usage import UsageMeter
from cloud_service.errors import CloudError, DeadlineError, DrainingError, GenerationError, OverloadedError
from cloud_service.refinement import EdgeTuner, OnProgress, RefinementOutcome, RefinePlan
from cloud_service.task import Example
from loragen.contract.recipe import Recipe
from loragen.web.logs import describe_crash
from loragen.web.retry_after import RetryAfter

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)

_NICENESS = 10


class RefinerEvents(Protocol):
    """A hook for whoever counts refinements."""

    def refining_changed(self, change: int) -> None:
        """So many requests more wait for a refinement or have one, or fewer."""
        ...

    def refined(self, outcome: str, seconds: float) -> None:
        """A refinement is over: `kept`, `unchanged`, `failed` or `cancelled`."""
        ...


class _UnwantedError(Exception):
    """Nobody waits for the work any more."""


class QueuePlace:
    """A place in the queue; leaving the block gives it back."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def give_back(self) -> None:
        """Make room for another; a second time does nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Refiner:
    """Refines recipes, one at a time.

    Args:
        max_queue: Most requests that wait for a refinement or have one.
        threads: Of the computation.
        usage: Knows how many of the places one tenant may take, and counts refinements.
        events: Called at each change.
    """

    def __init__(self, *, max_queue: int, threads: int, usage: UsageMeter, events: RefinerEvents) -> None:
        self._max_queue = max_queue
        self._usage = usage
        self._threads = threads
        self._events = events
        self._taken = 0
        self._turn = asyncio.Lock()
        self._tuners: dict[str, EdgeTuner] = {}
        self._retry_after = RetryAfter()
        self._began: float | None = None
        self._closing = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="refiner", initializer=_lower_priority)

    def reserve(self) -> QueuePlace:
        """A place in the queue.

        Raises:
            OverloadedError: There is none.
            UsageLimitError: The caller's tenant, or its key, has its share of them.
            DrainingError: The refiner was closed.
        """
        if self._closing.is_set():
            raise DrainingError("the service is shutting down", "ask another replica")
        if self._taken >= self._max_queue:
            now = time.monotonic()
            running_seconds = 0.0 if self._began is None else now - self._began
            raise OverloadedError(
                f"{self._taken} refinements are waiting, the most allowed",
                "come back after Retry-After seconds, or ask without refine",
                retry_after_seconds=self._retry_after.seconds(now, 1, running_seconds, current_caller().holder),
            )
        give_back = self._usage.hold("refinements", self._max_queue)
        self._taken += 1
        self._events.refining_changed(1)

        def leave() -> None:
            give_back()
            self._taken -= 1
            self._events.refining_changed(-1)

        return QueuePlace(leave)

    @asynccontextmanager
    async def turn(self, timeout_seconds: float) -> AsyncIterator[None]:
        """The block runs when those who came earlier are done.

        Raises:
            DeadlineError: Not within `timeout_seconds`.
            DrainingError: The refiner was closed.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._unless_closed(self._turn.acquire())
        except TimeoutError:
            raise DeadlineError(
                f"other refinements took the next {timeout_seconds:g} s", "ask again, or with Prefer: respond-async"
            ) from None
        try:
            yield
        finally:
            self._turn.release()

    async def refine(
        self,
        generator_id: str,
        load: Callable[[], EdgeTuner],
        recipe: Recipe,
        examples: Sequence[Example],
        shown: int,
        plan: RefinePlan,
        on_progress: OnProgress,
    ) -> tuple[Recipe, RefinementOutcome]:
        """A refined recipe; called within `turn`. Arguments as for `EdgeTuner.refine`.

        Raises:
            InvalidRequestError: An example does not fit the edge model.
            UsageLimitError: The caller has begun as many today as it may.
            DrainingError: The refiner was closed.
            GenerationError: The edge model cannot be loaded, or failed.
        """
        if self._closing.is_set():
            raise DrainingError("the service is shutting down", "ask another replica")
        await self._usage.begin("refinements")
        loop, wanted = asyncio.get_running_loop(), threading.Event()
        wanted.set()

        def report(done: int, total: int) -> None:
            if not wanted.is_set() or self._closing.is_set():
                raise _UnwantedError
            loop.call_soon_threadsafe(on_progress, done, total)

        def work() -> tuple[Recipe, RefinementOutcome]:
            report(0, max(1, plan.steps))
            return self._tuner(generator_id, load).refine(recipe, examples, shown, plan, report)

        self._began = began = time.monotonic()
        outcome = "failed"
        try:
            refined = await self._unless_closed(loop.run_in_executor(self._thread, work))
            outcome = "kept" if refined[1].kept else "unchanged"
            return refined
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except CloudError:
            raise
        except Exception as e:
            _log.error("refinement_failed", generator=generator_id, crash=describe_crash(e))
            raise GenerationError(
                f"the refinement failed: {type(e).__name__}",
                "ask without refine; the service goes on",
                code="refine_failed",
            ) from e
        finally:
            wanted.clear()
            self._began = None
            self._retry_after.measured(time.monotonic() - began)
            self._events.refined(outcome, time.monotonic() - began)

    def close(self) -> None:
        """Drop what waits; what runs ends at its next step."""
        self._closing.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _unless_closed(self, work: Awaitable[_T]) -> _T:
        working, closing = asyncio.ensure_future(work), asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({working, closing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise DrainingError("the service shut down before the refinement was ready", "ask again")
            return await working
        finally:
            closing.cancel()
            working.cancel()

    def _tuner(self, generator_id: str, load: Callable[[], EdgeTuner]) -> EdgeTuner:
        # On the refiner's thread.
        if generator_id not in self._tuners:
            self._tuners[generator_id] = load()
        tuner = self._tuners[generator_id]
        tuner.use_threads(self._threads)
        return tuner


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere a thread has no number that this call takes
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
