"""The runner: one bounded queue and one thread in front of a generator.

Rules:
- The model runs on a thread of its own, never on the event loop.
- Prompts that wait together run together, after at most `max_delay_seconds`: up to `max_batch` of them, as far as the
  generator computes so many together.
- A full queue refuses at once and says when to come back, and every wait has a deadline. A part of the queue is for
  clients alone that were refused and come back when they were asked to. A series of tasks that the queue has taken goes
  on; whoever asks for them bounds how many series there are.
- What a prompt costs is bounded before it waits: by characters at once, by tokens on the model's thread.
- When a prompt makes the model fail, the others of its batch are not affected.

A thread cannot be interrupted. When a model hangs, its callers time out and the process must be restarted; the runner
says how long the current batch has been running, and `service` decides when that is too long.
`single_flight` takes care that equal prompts run once.
"""

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    GenerationError,
    OverloadedError,
    PromptTooLongError,
)
from cloud_service.generation import Asked, Generation, LoadedGenerator
from cloud_service.limits import MAX_CLOSED_SET_CHARS
from cloud_service.return_times import ReturnTimes
from loragen.web.logs import describe_crash
from loragen.web.retry_after import MOST_SECONDS, RetryAfter

_log = structlog.get_logger(__name__)

_MAX_CHARS_PER_TOKEN = 8
"""Longest prompt, in characters for each token of the limit. Common text has 4 or 5 characters a token.

A tokenizer may make one token of any word of more than 100 characters, so tokens alone do not bound the work.
"""


_SHARE_OF_RETURNING = 3
"""A third of the queue is for clients that were asked to come back. Others can never keep it full, and if none comes
back, the model still has work.
"""


class RunnerEvents(Protocol):
    """A hook for measuring runners; several runners may share one."""

    def queue_changed(self, change: int) -> None:
        """The number of waiting prompts grew by this, or shrank if negative."""
        ...

    def batch_done(self, queue_seconds: Sequence[float], generate_seconds: float) -> None:
        """A batch ran; `queue_seconds` has the wait of each of its prompts."""
        ...

    def rejected(self) -> None:
        """A prompt found the queue full."""
        ...


@dataclass(frozen=True, slots=True)
class Produced:
    """A generation, and the seconds it took."""

    generation: Generation
    queue_seconds: float
    generate_seconds: float


@dataclass(slots=True, eq=False)
class _Ticket:
    asked: Asked
    queued_at: float
    outcome: asyncio.Future[Produced]


class Runner:
    """Runs one generator; call `start` on the event loop that will use it.

    Args:
        generator: The generator.
        max_batch: Most prompts in one call, if the generator computes as many together.
        max_delay_seconds: Longest time that the first prompt of a batch waits for others.
        max_queue: Most waiting prompts.
        events: Called at each change.
    """

    def __init__(
        self,
        generator: LoadedGenerator,
        *,
        max_batch: int,
        max_delay_seconds: float,
        max_queue: int,
        events: RunnerEvents,
    ) -> None:
        self._generator = generator
        self._max_batch = min(max_batch, generator.most_at_once or max_batch)
        self._max_delay = max_delay_seconds
        self._max_queue = max_queue
        self._events = events
        self._waiting: deque[_Ticket] = deque()
        self._reported_waiting = 0
        self._running: list[_Ticket] = []
        self._changed = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="generator")
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._retry_after = RetryAfter(max_queue // _SHARE_OF_RETURNING)
        self._return_times = ReturnTimes()
        self._finishing = 0
        self._finished_at = 0.0
        self._batch_began: float | None = None

    def start(self) -> None:
        """Begin to serve the queue."""
        self._task = asyncio.create_task(self._serve(), name="runner")

    @property
    def waiting(self) -> int:
        """How many prompts are in the queue."""
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether clients that were not asked to come back are refused."""
        return self._taken_places >= self._places(returns=False)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._waiting and not self._running

    @property
    def is_serving(self) -> bool:
        """Whether prompts are being taken from the queue."""
        return self._task is not None and not self._task.done()

    @property
    def running_seconds(self) -> float:
        """How long the current batch has been running; 0 when there is none."""
        return 0.0 if self._batch_began is None else asyncio.get_running_loop().time() - self._batch_began

    async def generate(
        self, asked: Asked, timeout_seconds: float, key: str | None = None, *, has_room: bool = False
    ) -> Produced:
        """The generation for one task.

        Args:
            asked: The task.
            timeout_seconds: Longest time for it.
            key: What the request was refused by, if it was (`verify_room`); by default its prompt.
            has_room: Whether `verify_room` was asked already, for the series of tasks that this one is of.

        Raises:
            PromptTooLongError: The prompt has more characters or tokens than the generator takes.
            OverloadedError: The queue is full.
            DrainingError: The runner is being closed.
            DeadlineError: Not ready within `timeout_seconds`.
            GenerationError: The model failed on this prompt.
        """
        key = asked.prompt if key is None else key
        self.verify_characters(asked)
        if has_room:
            self._verify_open()
        else:
            self.verify_room(key)
        self._return_times.forget(current_caller().holder, key)
        loop = asyncio.get_running_loop()
        ticket = _Ticket(asked, loop.time(), loop.create_future())
        self._waiting.append(ticket)
        self._queue_changed()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await ticket.outcome
        except TimeoutError:
            raise DeadlineError(
                f"no generation within {timeout_seconds:g} s", "the service may be overloaded"
            ) from None
        finally:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                self._queue_changed()

    async def count_edge_tokens(self, asked: Asked) -> int:
        """Length of a prompt in tokens of the edge model, which its recipe will tell; `verify_characters` passed it."""
        return await asyncio.to_thread(self._generator.count_edge_tokens, asked.prompt)

    def is_long(self, prompt: str) -> bool:
        """Whether a prompt has too many characters, unless the choice head reads it."""
        return len(prompt) > self._most_chars

    def verify_characters(self, asked: Asked) -> None:
        """Return when the prompt is not too long by its characters.

        Raises:
            PromptTooLongError: It is.
        """
        most = MAX_CLOSED_SET_CHARS if self._reads_choices(asked) else self._most_chars
        if len(asked.prompt) > most:
            raise PromptTooLongError(len(asked.prompt), most, "characters")

    def verify_room(self, key: str) -> None:
        """Return when a task would be taken now. Ask before other work, which would be in vain.

        Args:
            key: By which a task that is refused now is known when it comes back.

        Raises:
            OverloadedError, DrainingError: As for `generate`.
        """
        self._verify_open()
        now, holder = asyncio.get_running_loop().time(), current_caller().holder
        if self._taken_places < self._places(returns=self._return_times.has_come(holder, key, now)):
            return
        self._events.rejected()
        left = self._return_times.seconds_left(holder, key, now)
        if left is not None:
            # Whoever asks again before its time takes no further one from others.
            seconds = math.ceil(left)
        else:
            promised = self._retry_after.promise(now, len(self._running), self.running_seconds, holder)
            seconds = promised or MOST_SECONDS
            if promised is not None:
                # One without a slot comes back as a newcomer. Else who asks for much would come, with all that it was
                # refused, when a slot is another's.
                self._return_times.remember(holder, key, now, now + seconds)
        raise OverloadedError(
            f"{self._taken_places} requests are waiting, the most allowed",
            "come back after Retry-After seconds",
            retry_after_seconds=seconds,
        )

    def _verify_open(self) -> None:
        if self._closing:
            raise DrainingError("the service is shutting down", "ask another replica")

    def _places(self, *, returns: bool) -> int:
        return self._max_queue - (0 if returns else self._max_queue // _SHARE_OF_RETURNING)

    @property
    def _most_chars(self) -> int:
        return _MAX_CHARS_PER_TOKEN * self._generator.info.max_prompt_tokens

    @property
    def _taken_places(self) -> int:
        return len(self._waiting) + self._finishing

    @contextmanager
    def finishing(self, seconds: float) -> Iterator[None]:
        """Count a prompt as waiting while the block does the rest for it, such as building its bundle.

        Args:
            seconds: How long the prompt has taken so far, the queue included.
        """
        clock = asyncio.get_running_loop().time
        began = clock() - seconds
        self._finishing += 1
        try:
            yield
        finally:
            self._finishing -= 1
            # While there is always work, one is finished each time that one can be.
            now = clock()
            self._retry_after.measured(now - max(began, self._finished_at))
            self._finished_at = now

    async def close(self, timeout_seconds: float) -> int:
        """Finish accepted prompts, then stop; those not ready in time fail with `DrainingError`.

        Returns:
            How many requests were cut off.
        """
        self._closing = True
        pending = [ticket.outcome for ticket in (*self._waiting, *self._running) if not ticket.outcome.done()]
        cut_off: set[asyncio.Future[Produced]] = set()
        if pending:
            _, cut_off = await asyncio.wait(pending, timeout=timeout_seconds)
        for outcome in cut_off:
            outcome.set_exception(DrainingError("the service shut down before the generation was ready", "ask again"))
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=False, cancel_futures=True)
        return len(cut_off)

    async def _serve(self) -> None:
        while True:
            await self._collect()
            self._running = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
            self._queue_changed()
            if self._running:
                await self._run(self._running)
                self._running = []

    async def _collect(self) -> None:
        while not self._waiting:
            await self._next_change()
        try:
            async with asyncio.timeout_at(self._waiting[0].queued_at + self._max_delay):
                while len(self._waiting) < self._max_batch:
                    await self._next_change()
        except TimeoutError:
            pass

    async def _run(self, batch: list[_Ticket]) -> None:
        loop = asyncio.get_running_loop()
        self._batch_began = started = loop.time()
        outcomes = await loop.run_in_executor(self._thread, self._produce, [ticket.asked for ticket in batch])
        self._batch_began = None
        seconds = loop.time() - started
        waits = [started - ticket.queued_at for ticket in batch]
        for ticket, outcome, wait in zip(batch, outcomes, waits, strict=True):
            if ticket.outcome.done():  # its caller gave up
                continue
            if isinstance(outcome, CloudError):
                ticket.outcome.set_exception(outcome)
            else:
                ticket.outcome.set_result(Produced(outcome, wait, seconds))
        self._events.batch_done(waits, seconds)

    def _produce(self, asked: list[Asked]) -> list[Generation | CloudError]:
        # On the generator's thread. Returns errors instead of raising them, so that each prompt gets its own.
        outcomes: list[Generation | CloudError | None] = [self._find_fault(each) for each in asked]
        sound = [index for index, outcome in enumerate(outcomes) if outcome is None]
        for index, outcome in zip(sound, self._attempt([asked[index] for index in sound]), strict=True):
            outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def _find_fault(self, asked: Asked) -> CloudError | None:
        if self._reads_choices(asked):
            return None
        limit = self._generator.info.max_prompt_tokens
        try:
            tokens = self._generator.count_tokens(asked.prompt)
        except Exception as e:
            return self._failed(e)
        return PromptTooLongError(tokens, limit, "tokens") if tokens > limit else None

    def _reads_choices(self, asked: Asked) -> bool:
        """Whether the choice head reads each choice by itself, and nothing of the prompt."""
        return bool(asked.choices and self._generator.info.most_choices)

    def _attempt(self, asked: list[Asked]) -> Sequence[Generation | CloudError]:
        if not asked:
            return []
        try:
            return self._verified(asked)
        except Exception as e:
            if len(asked) == 1:
                return [self._failed(e)]
            # One of the prompts made the batch fail. Each runs alone now, so that only that one fails.
            return [outcome for each in asked for outcome in self._attempt([each])]

    def _verified(self, asked: list[Asked]) -> list[Generation]:
        expected = self._generator.bank.header.gates_shape
        generations = self._generator.generate(asked)
        if len(generations) != len(asked):
            raise GenerationError(f"expected {len(asked)} generations, found {len(generations)}")
        for generation in generations:
            if generation.gates.shape != expected:
                raise GenerationError(f"expected gates of shape {expected}, found {generation.gates.shape}")
        return generations

    def _failed(self, error: Exception) -> CloudError:
        _log.error("generation_failed", generator=self._generator.info.id, crash=describe_crash(error))
        if isinstance(error, CloudError):
            return error
        failure = GenerationError(
            f"the generator {self._generator.info.id} failed on this request: {type(error).__name__}",
            "the service goes on; report the request id if it happens again",
        )
        failure.__cause__ = error
        return failure

    def _queue_changed(self) -> None:
        self._changed.set()
        change = len(self._waiting) - self._reported_waiting
        self._reported_waiting += change
        self._events.queue_changed(change)

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
