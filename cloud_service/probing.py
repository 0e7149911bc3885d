"""The prober: shows what LoRAs change on a client's own inputs, by running the edge model without them and with them.

The weights of the edge model are loaded for the first probe and stay in memory. The model runs on a thread of its own,
neither on the event loop nor on the generator's thread. The number of waiting probes and the tokens of each are
bounded, every wait has a deadline, and a probe that nobody waits for any more ends soon. A probe takes its place, and
counts for the day, before the work that it needs. Results belong to one request and are stored nowhere.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.access.usage import UsageMeter
from cloud_service.errors import (
    CloudError,
    DeadlineError,
    DrainingError,
    GenerationError,
    InvalidRequestError,
    OverloadedError,
)
from cloud_service.generation import EdgeProbe, EdgeScores
from cloud_service.limits import MAX_PROBE_TOKENS
from cloud_service.task import Example
from loragen.contract.assembly import assemble
from loragen.contract.bank import Bank
from loragen.contract.recipe import Recipe
from loragen.web.logs import describe_crash
from loragen.web.retry_after import RetryAfter

_T = TypeVar("_T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """Inputs that the edge model is to answer under one LoRA.

    Attributes:
        recipe: Of the LoRA.
        examples: At least one input with the answer expected, by its place in the request, such as `probe.0`.
    """

    recipe: Recipe
    examples: Mapping[str, Example]


@dataclass(frozen=True, slots=True)
class ProbeComparison:
    """The edge model on the same inputs: as it is, and with the LoRA and its residual prompt in front."""

    base: EdgeScores
    specialized: EdgeScores

    @property
    def answered(self) -> int:
        """How many inputs there were."""
        return len(self.base.right)

    @property
    def gained(self) -> int:
        """How many inputs are right with the LoRA, and not without it."""
        return sum(right and not known for right, known in zip(self.specialized.right, self.base.right, strict=True))


@dataclass(slots=True, eq=False)
class ProbePlace:
    """One of a prober's places.

    Attributes:
        taken_at: When it was taken, on the monotonic clock.
        last: What was begun last on the prober's thread for whoever has the place.
    """

    taken_at: float
    last: Future[Any] | None = None


class Prober:
    """Probes one edge model.

    Args:
        load: Loads the edge model.
        bank: Makes LoRAs of recipes.
        max_waiting: Most probes that are prepared, wait or run.
        timeout_seconds: Longest time for one probe; that of the first includes loading the weights.
        usage: Knows how many of them may be one tenant's, and counts them.
    """

    def __init__(
        self, load: Callable[[], EdgeProbe], bank: Bank, *, max_waiting: int, timeout_seconds: float, usage: UsageMeter
    ) -> None:
        self._load, self._bank = load, bank
        self._max_waiting = max_waiting
        self._timeout = timeout_seconds
        self._usage = usage
        self._probe: EdgeProbe | None = None
        self._places: dict[ProbePlace, None] = {}  # in the order in which they were taken
        self._left_at = -math.inf
        self._retry_after = RetryAfter()
        self._closed = False
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prober")

    @asynccontextmanager
    async def reserve(self) -> AsyncIterator[ProbePlace]:
        """A place for one probe, which counts for today whatever comes of it. Reserve it before other work.

        It is given back when the block is left and the thread is done with it.

        Raises:
            OverloadedError: Too many probes are prepared, wait or run.
            UsageLimitError: Too many of them are the caller's, today or now.
            DrainingError: The prober was closed.
        """
        self._verify_open()
        now = time.monotonic()
        if len(self._places) >= self._max_waiting:
            running_seconds = now - max(next(iter(self._places)).taken_at, self._left_at)
            raise OverloadedError(
                f"{len(self._places)} probes are waiting, the most allowed",
                "come back after Retry-After seconds, or ask without the probe",
                retry_after_seconds=self._retry_after.seconds(now, 1, running_seconds, current_caller().holder),
            )
        give_back, loop = self._usage.hold("probes", self._max_waiting), asyncio.get_running_loop()
        place = ProbePlace(now)
        self._places[place] = None

        def leave() -> None:
            del self._places[place]
            give_back()
            if place.last is not None:
                # What prepared the probe counts, whatever came of it: so long it takes until a place is free again.
                left_at = time.monotonic()
                self._retry_after.measured(left_at - max(place.taken_at, self._left_at))
                self._left_at = left_at

        def over(_: object) -> None:
            # A place is free when the thread is done, not when the client has gone. At the end there is no loop.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(leave)

        try:
            await self._usage.begin("probes")
            yield place
        finally:
            if place.last is None or place.last.done():
                leave()
            else:
                place.last.add_done_callback(over)

    async def verify_lengths(self, trials: Sequence[Trial], place: ProbePlace) -> None:
        """Return when the edge model can read the inputs of at least one trial. Ask before their LoRAs are generated.

        Args:
            trials: Of their recipes only the residual prompts matter.
            place: That of the probe.

        Raises:
            InvalidRequestError: An input with its answer is too long, or all of them are.
            DrainingError, DeadlineError, GenerationError: As for `compare`.
        """
        await self._run(place, lambda _: _verify_lengths(self._loaded(), trials))

    async def compare(self, trials: Sequence[Trial], place: ProbePlace | None = None) -> ProbeComparison:
        """Scores on the inputs of at least one trial, without a LoRA and each with that of its trial.

        Args:
            trials: Inputs and LoRAs.
            place: That of the probe; by default it is reserved here.

        Raises:
            InvalidRequestError: An input with its answer is too long for the edge model, or an answer is none of the
                choices that the LoRA has codes for.
            OverloadedError, UsageLimitError: As for `reserve`.
            DrainingError: The prober was closed before the probe was ready.
            DeadlineError: Not ready in time.
            GenerationError: The edge model cannot be loaded, or failed.
        """
        if place is None:
            async with self.reserve() as place:
                return await self.compare(trials, place)
        return await self._run(place, lambda wanted: self._compare(trials, wanted))

    def close(self) -> None:
        """Drop waiting probes; a running one ends by itself."""
        self._closed = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _verify_open(self) -> None:
        if self._closed:
            raise DrainingError("the service is shutting down", "ask another replica")

    async def _run(self, place: ProbePlace, work: Callable[[threading.Event], _T]) -> _T:
        """Do work on the prober's thread; the event it gets is cleared when nobody waits for it any more."""
        self._verify_open()
        wanted = threading.Event()
        wanted.set()
        place.last = future = self._thread.submit(self._attempt, work, wanted)
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise DeadlineError(
                f"no probe within {self._timeout:g} s", "send fewer or shorter inputs; the first probe loads the model"
            ) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # not the caller was cancelled, but the probe, by `close`
                raise DrainingError("the service shut down before the probe was ready", "ask again") from None
            raise
        finally:
            wanted.clear()

    def _attempt(self, work: Callable[[threading.Event], _T], wanted: threading.Event) -> _T:
        # On the prober's thread.
        try:
            return work(wanted)
        except CloudError:
            raise
        except Exception as e:
            _log.error("probe_failed", crash=describe_crash(e))
            raise GenerationError(
                f"the probe failed: {type(e).__name__}", "ask without it; the service goes on", code="probe_failed"
            ) from e

    def _loaded(self) -> EdgeProbe:
        if self._probe is None:
            self._probe = self._load()
        return self._probe

    def _compare(self, trials: Sequence[Trial], wanted: threading.Event) -> ProbeComparison:
        for trial in trials:
            if trial.recipe.answer.codes:
                verify_expected(trial.examples, trial.recipe.answer.options)
        probe = self._loaded()
        _verify_lengths(probe, trials)
        base = probe.score([each for trial in trials for each in trial.examples.values()], None)
        compared = ProbeComparison(base, _join([self._specialize(probe, trial, wanted) for trial in trials]))
        if not all(math.isfinite(scores.log_likelihood) for scores in (compared.base, compared.specialized)):
            raise GenerationError("the probe gave no finite likelihood", "ask without it", code="probe_failed")
        return compared

    def _specialize(self, probe: EdgeProbe, trial: Trial, wanted: threading.Event) -> EdgeScores:
        if not wanted.is_set() or self._closed:
            raise DrainingError("nobody waits for the probe any more")
        recipe = trial.recipe
        lora = assemble(self._bank, recipe.gates, recipe.keys)
        return probe.score(list(trial.examples.values()), lora, recipe.answer, recipe.residual_prompt)


def verify_expected(examples: Mapping[str, Example], choices: Sequence[str]) -> None:
    """Check that each expected answer is one of the choices.

    Args:
        examples: By their places in the request.
        choices: What answers are.

    Raises:
        InvalidRequestError: One is not.
    """
    for place, example in examples.items():
        if example.output not in choices:
            raise InvalidRequestError(
                f"{place}.output: expected one of the {len(choices)} choices of the task, found another text",
                "without a probe, the answer lists them as answer.choices; answer {'type': 'text'} asks for any text",
                code="probe_not_a_choice",
            )


def _join(scores: Sequence[EdgeScores]) -> EdgeScores:
    right = tuple(each for part in scores for each in part.right)
    return EdgeScores(right, sum(part.log_likelihood * len(part.right) for part in scores) / len(right))


def _verify_lengths(probe: EdgeProbe, trials: Sequence[Trial]) -> None:
    total = 0
    for trial in trials:
        for place, example in trial.examples.items():
            tokens = probe.count_tokens(example, trial.recipe.residual_prompt)
            total += tokens
            if tokens > probe.max_tokens:
                raise InvalidRequestError(
                    f"{place}: expected at most {probe.max_tokens} tokens with the answer, found {tokens}",
                    "shorten the input or its answer",
                    code="probe_too_long",
                )
            if total > MAX_PROBE_TOKENS:
                field, most = place.partition(".")[0], MAX_PROBE_TOKENS
                raise InvalidRequestError(
                    f"{field}: expected at most {most} tokens in all, found {total} up to {place}",
                    "send fewer or shorter inputs",
                    code="probe_too_long",
                )
