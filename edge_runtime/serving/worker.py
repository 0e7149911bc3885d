"""One thread in front of one engine, with a bounded queue: how blocking inference meets the event loop.

Rules: an engine is used by this thread alone. A full queue refuses at once, with the time to come back. A client that
is gone costs at most one more step, and no place in the queue. Which engine serves which name is decided in
`serving.slots`.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from edge_runtime.errors import BusyError, ModelOutputError, ServingError
from edge_runtime.serving.completion import CompletionRequest, complete
from edge_runtime.serving.engine import Cancelled, Engine
from edge_runtime.serving.events import Event, Finished
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)

_FIRST_ESTIMATE_SECONDS = 1.0
"""What a request is taken to last before any was measured; only Retry-After depends on it."""

_MAX_RETRY_AFTER_SECONDS = 60


_ResultT = TypeVar("_ResultT")


@dataclass(frozen=True, slots=True)
class _Result:
    """What a call of the engine gave."""

    value: Any


class Job:
    """One request on its way through a worker. Iterate it once; `cancel` it when its client is gone."""

    def __init__(self, work: Callable[[Engine, Cancelled], Iterator[Event | _Result]], answers: int = 1) -> None:
        self.work = work
        self.answers = answers
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | _Result | ServingError | None] = asyncio.Queue()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Abandon the job; it ends within one step of the engine."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def put(self, event: Event | _Result | ServingError | None) -> None:
        """Hand an event to the loop; None is the end. Called from the worker's thread."""
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:  # the loop is closed: nobody can be reading
            self.cancel()

    async def events(self) -> AsyncIterator[Any]:
        """The job's events.

        Raises:
            ServingError: Whatever ended the job early.
        """
        while (event := await self._events.get()) is not None:
            if isinstance(event, ServingError):
                raise event
            yield event


class Worker:
    """Runs jobs on an engine, one after another.

    Args:
        engine: Used by this worker's thread only, and closed with it.
        max_queue: Jobs that may wait or run.
        name: Name of the thread.
    """

    def __init__(self, engine: Engine, max_queue: int, name: str) -> None:
        self._engine = engine
        self._max_queue = max_queue
        self._waiting: deque[Job] = deque()
        self._is_running = False
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._job_seconds = _FIRST_ESTIMATE_SECONDS
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def queue_depth(self) -> int:
        """Jobs waiting or running."""
        with self._changed:
            return self._count()

    @property
    def is_closing(self) -> bool:
        """Whether jobs are refused."""
        return self._closing.is_set()

    @property
    def is_closed(self) -> bool:
        """Whether the engine is gone."""
        return not self._thread.is_alive()

    def submit(self, request: CompletionRequest) -> Job:
        """Queue a request.

        Raises:
            BusyError: The queue is full, or the worker is closing.
        """
        return self._queue(Job(lambda engine, is_over: complete(engine, request, is_over), request.answers_in_all))

    async def call(self, work: Callable[[Engine], _ResultT]) -> _ResultT:
        """Let the engine do something short, in turn with the requests.

        Raises:
            BusyError: The queue is full, or the worker is closing.
            ServingError: It failed.
        """
        job = self._queue(Job(lambda engine, _: iter([_Result(work(engine))])))
        try:
            result = [event async for event in job.events()]
        finally:
            job.cancel()
        value: _ResultT = result[0].value
        return value

    def _queue(self, job: Job) -> Job:
        with self._changed:
            if self._closing.is_set():
                raise BusyError("this model is being unloaded", "ask again", code="shutting_down")
            if (count := self._count()) >= self._max_queue:
                wait = math.ceil(self._job_seconds * count)
                raise BusyError(
                    f"{count} requests are waiting for this model, at most {self._max_queue} may",
                    "ask again after Retry-After seconds",
                    retry_after_seconds=min(max(wait, 1), _MAX_RETRY_AFTER_SECONDS),
                )
            self._waiting.append(job)
            self._changed.notify()
        return job

    def close(self) -> None:
        """End the running job at its next step, refuse the waiting ones, and close the engine; blocking."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join()

    def _count(self) -> int:
        """Jobs waiting or running, once those that were cancelled while they waited are out of the queue."""
        for job in [job for job in self._waiting if job.is_cancelled()]:
            self._waiting.remove(job)
            job.put(None)
        return len(self._waiting) + self._is_running

    def _next(self) -> Job | None:
        """The next job; None when the worker is closing and none is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            if not self._waiting:
                return None
            self._is_running = True
            return self._waiting.popleft()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            started = time.monotonic()
            try:
                self._answer(job)
            finally:
                with self._changed:
                    self._is_running = False
                if not job.is_cancelled():
                    # The newest request weighs a quarter: follows a change of load within a few requests.
                    self._job_seconds += (time.monotonic() - started - self._job_seconds) / 4
        self._engine.close()

    def _answer(self, job: Job) -> None:
        def is_over() -> bool:
            return job.is_cancelled() or self._closing.is_set()

        try:
            for event in job.work(self._engine, is_over):
                job.put(event)
                if isinstance(event, _Result) or (isinstance(event, Finished) and event.index == job.answers - 1):
                    break
            else:
                # Ended without finishing: the client is gone, or the worker closes.
                job.put(BusyError("the device is shutting down", "ask again", code="shutting_down"))
        except ServingError as error:
            job.put(error)
        except Exception as error:
            # The thread must outlive whatever a model or a library does; the client gets no inner detail.
            _log.error("inference_crashed", crash=describe_crash(error))
            job.put(ModelOutputError("inference failed; the device's log says why"))
        job.put(None)
