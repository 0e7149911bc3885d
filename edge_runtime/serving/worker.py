"""One thread in front of one engine, with a bounded queue: how blocking inference meets the event loop.

Rules:
- An engine is used by this thread alone. It answers as many requests at a time as it has sequences; one that waits
  joins as soon as another leaves, between two steps of the engine.
- A full queue refuses at once and says when to come back, by the measured rate. A request that has waited too long is
  refused, too.
- Clients are equal, however much each asks (`serving.turns`).
- While there are no requests, it computes the beginning that all chats share, until that is done.
- A client that is gone costs at most the step that is being computed, and no place in the queue.

Which engine serves which name is decided in `serving.slots`, what a step computes in the engine.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from edge_runtime.errors import BusyError, InvalidRequestError, ModelOutputError, ServingError
from edge_runtime.serving.completion import CompletionRequest, completion_events, prefill_residual_prompt
from edge_runtime.serving.completion_job import CompletionJob
from edge_runtime.serving.engine import Engine, Steps, TokenSequence
from edge_runtime.serving.events import Event
from edge_runtime.serving.turns import Turns, place_in_the_way
from loragen.web.logs import describe_crash
from loragen.web.retry_after import RetryAfter

_log = structlog.get_logger(__name__)

_ResultT = TypeVar("_ResultT")


MAX_TOKENS_IN_ALL = 32_768
"""Of several answers to one request: eight answers of 4,096 tokens, or 128 of 256. They are written one after another,
at ten tokens a second within an hour."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may take.

    Attributes:
        queue_seconds: Longest wait before it is begun.
        answer_tokens: Longest answer to a request that names no limit.
        max_answer_tokens: Longest answer to any.
    """

    queue_seconds: float = 60.0
    answer_tokens: int = 1024
    max_answer_tokens: int = 4096

    def bounded(self, request: CompletionRequest) -> CompletionRequest:
        """The request with the limit of its answer.

        Raises:
            InvalidRequestError: Its answers may have too many tokens in all.
        """
        asked = self.answer_tokens if request.max_tokens is None else request.max_tokens
        tokens, prompts = min(asked, self.max_answer_tokens), 1 + len(request.more_prompts)
        longest = max(tokens, request.sampling.longest_choice)
        if request.answers_in_all > 1 and longest * request.answers_in_all > MAX_TOKENS_IN_ALL:
            raise InvalidRequestError(
                f"'max_tokens' x 'n' x prompts: expected at most {MAX_TOKENS_IN_ALL} tokens in all answers to one "
                f"request, found {longest} x {request.answers} x {prompts}",
                "ask for fewer answers, for shorter ones, or in several requests",
            )
        return replace(request, max_tokens=tokens)


DEFAULT_LIMITS = RequestLimits()


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    """A request that is being answered."""

    job: CompletionJob
    sequence: TokenSequence
    events: Generator[Event | None, None, None]

    def leave(self) -> None:
        # Closing the generator frees what it has, such as a sampler.
        self.events.close()
        self.sequence.close()


class Worker:
    """Answers requests on an engine, several at a time.

    Args:
        engine: Used by this worker's thread only, and closed with it.
        max_queue: Requests that may wait or be answered.
        name: Name of the thread.
        limits: What a request may take.
    """

    def __init__(self, engine: Engine, max_queue: int, name: str, limits: RequestLimits = DEFAULT_LIMITS) -> None:
        self._engine = engine
        self._max_queue = max_queue
        self._limits = limits
        self._waiting: deque[CompletionJob] = deque()
        self._running: list[_Running] = []
        self._turns = Turns()
        self._warming: Steps[None] | None = None
        self._is_warm = False
        self._calls: deque[tuple[Callable[[Engine], Any], Future[Any]]] = deque()
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._retry_after = RetryAfter()
        self._measured_from = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def sequences(self) -> int:
        """Requests that can be answered at a time."""
        return self._engine.sequences

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for a sequence."""
        with self._changed:
            self._drop_abandoned()
            return len(self._waiting)

    @property
    def is_closing(self) -> bool:
        """Whether requests are refused."""
        return self._closing.is_set()

    @property
    def is_closed(self) -> bool:
        """Whether the engine is gone."""
        return not self._thread.is_alive()

    def submit(self, request: CompletionRequest, is_streamed: bool = True, client: str = "") -> CompletionJob:
        """Queue a request.

        Args:
            request: What is asked for.
            is_streamed: As in `CompletionJob`.
            client: Who asks, as far as it is known: an address.

        Raises:
            InvalidRequestError: It asks for too much.
            BusyError: The queue is full, or the worker is closing.
        """
        now = time.monotonic()
        job = CompletionJob(self._limits.bounded(request), now + self._limits.queue_seconds, is_streamed, client)
        with self._changed:
            self._verify_open()
            self._drop_abandoned()
            if (count := len(self._waiting) + len(self._running)) >= self._max_queue:
                full = BusyError(
                    f"{count} requests are waiting for this model, at most {self._max_queue} may",
                    "ask again after Retry-After seconds",
                    retry_after_seconds=self._seconds_until_free(now),
                )
                other = self._job_in_the_way_of(client)
                if other is None:
                    raise full
                self._waiting.remove(other)
                other.end(full)
            self._turns.arrive(client)
            self._waiting.append(job)
            self._changed.notify()
        return job

    async def call(self, work: Callable[[Engine], _ResultT]) -> _ResultT:
        """Let the engine do something short between two steps.

        Raises:
            BusyError: Too many want that, or the worker is closing.
            ServingError: It failed.
        """
        future: Future[_ResultT] = Future()
        with self._changed:
            self._verify_open()
            if len(self._calls) >= self._max_queue:
                raise BusyError(f"{len(self._calls)} calls are waiting for this model", "ask again")
            self._calls.append((work, future))
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End what is being answered at the next step, refuse what waits, and close the engine; blocking."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join()

    def _verify_open(self) -> None:
        if self._closing.is_set():
            raise BusyError("this model is being unloaded", "ask again", code="shutting_down")

    def _drop_abandoned(self) -> None:
        """Take those out of the queue that were cancelled while they waited."""
        for job in [job for job in self._waiting if job.is_cancelled()]:
            self._waiting.remove(job)
            job.end()

    def _job_in_the_way_of(self, client: str) -> CompletionJob | None:
        place = place_in_the_way(client, *self._clients())
        return None if place is None else self._waiting[place]

    def _take_next(self) -> CompletionJob:
        job = self._waiting[self._turns.take_next(*self._clients())]
        self._waiting.remove(job)
        return job

    def _clients(self) -> tuple[list[str], list[str]]:
        """Of those that wait, and of those that are being answered."""
        return [job.client for job in self._waiting], [each.job.client for each in self._running]

    def _seconds_until_free(self, now: float) -> int:
        return self._retry_after.seconds(now, len(self._running), now - self._measured_from if self._running else 0.0)

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._make_calls()
                self._join()
                for each in tuple(self._running):
                    self._resume(each)
                if self._running:
                    self._step()
                elif not self._is_warm:
                    self._warm_up()
        finally:  # however it ends, nobody is left waiting, and the memory is given back
            self._end_all()

    def _end_all(self) -> None:
        with self._changed:
            self._closing.set()
            waiting, calls = tuple(self._waiting), tuple(self._calls)
            self._waiting.clear()
            self._calls.clear()
        closed = BusyError("the device is shutting down", "ask again", code="shutting_down")
        try:
            for job in waiting:
                job.end(closed)
            for _, future in calls:
                if future.set_running_or_notify_cancel():
                    future.set_exception(closed)
            self._stop_warming_up()
            for each in tuple(self._running):
                self._end(each, closed)
        finally:
            self._engine.close()

    def _wait_for_work(self) -> bool:
        """Wait until there is something to do; False when the worker closes."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._running or self._waiting or self._calls or not self._is_warm or self._closing.is_set()
            )
            return not self._closing.is_set()

    def _make_calls(self) -> None:
        with self._changed:
            calls = tuple(self._calls)
            self._calls.clear()
        for work, future in calls:
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work(self._engine))
            except Exception as error:
                future.set_exception(_as_serving_error(error))

    def _join(self) -> None:
        """Let those join that wait, as far as there are sequences; refuse those that have waited too long."""
        now = time.monotonic()
        with self._changed:
            self._drop_abandoned()
            while self._waiting and self._waiting[0].deadline < now:
                self._waiting.popleft().end(
                    BusyError(
                        f"no place within {self._limits.queue_seconds:g} s",
                        "ask again after Retry-After seconds",
                        retry_after_seconds=self._seconds_until_free(now),
                    )
                )
            if self._waiting and not self._running:
                self._stop_warming_up()
                self._measured_from = now
            while self._waiting and len(self._running) < self._engine.sequences:
                job, sequence = self._take_next(), self._engine.open()
                self._running.append(_Running(job, sequence, completion_events(self._engine, sequence, job.request)))

    def _resume(self, each: _Running) -> None:
        """Let a request go on until it needs the engine's next step, or ends."""
        if each.job.is_cancelled():
            self._end(each)
            return
        try:
            for event in each.events:
                if event is None:
                    return
                each.job.put(event)
        except Exception as error:
            self._end(each, _as_serving_error(error))
            return
        with self._changed:
            now = time.monotonic()
            self._retry_after.measured(now - self._measured_from)
            self._measured_from = now
        self._end(each)

    def _warm_up(self) -> None:
        """Take the next step towards a context that has what all chats begin with."""
        try:
            self._warming = self._warming or prefill_residual_prompt(self._engine)
            next(self._warming)
            self._engine.step()
        except StopIteration:
            self._is_warm, self._warming = True, None
        except Exception as error:
            # Not raised: the same failure is reported to each request that meets it.
            _log.warning("warm_up_failed", crash=describe_crash(error))
            self._is_warm, self._warming = True, None

    def _stop_warming_up(self) -> None:
        """Make room for requests. What was computed stays, and the next time it goes on from there."""
        if self._warming is not None:
            self._warming.close()
            self._warming = None

    def _step(self) -> None:
        try:
            self._engine.step()
        except Exception as error:
            for each in tuple(self._running):
                self._end(each, _as_serving_error(error))

    def _end(self, each: _Running, error: ServingError | None = None) -> None:
        each.leave()
        with self._changed:
            self._running.remove(each)
        each.job.end(error)


def _as_serving_error(error: Exception) -> ServingError:
    """The error for the client, who gets no inner detail of a bug."""
    if isinstance(error, ServingError):
        return error
    # The thread must outlive whatever a model or a library does.
    _log.error("inference_crashed", crash=describe_crash(error))
    return ModelOutputError("inference failed; the device's log says why")
