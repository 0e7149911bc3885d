"""Which engine answers for which name: loading, swapping, draining and unloading.

Rules:
- Activation moves a pointer. A request keeps the slot it started on; a replaced slot closes when its last request ends.
- At most `max_resident` slots are loaded to answer requests. The least recently used idle one makes room; when none is
  idle the request waits a while and is then refused. One more may be loaded while a candidate is being checked, and
  replaced slots drain beside them.
- A request chooses its revision after it has room, and chooses again when an update moved the pointer meanwhile. Files
  that are being loaded are in use.
- Everything here runs on the event loop, except loading and closing, which block and go to threads. A thread that loads
  cannot be stopped: what it loaded for a task that was cancelled is closed.

What a revision is made of and whether it is fit to serve is decided by `updates`.
"""

import asyncio
import itertools
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edge_runtime.errors import BusyError, ModelLoadError, ServingError, UnknownModelError
from edge_runtime.serving.engine import Engine, EngineLoader
from edge_runtime.serving.use import Use
from edge_runtime.serving.worker import DEFAULT_LIMITS, RequestLimits, Worker
from loragen.contract.answer import TEXT_ANSWER, AnswerContract
from loragen.contract.digest import sha256_hex


@dataclass(frozen=True, slots=True)
class Revision:
    """A model, with or without an adapter, that can serve under a name.

    Attributes:
        name: Specialization, or `BASE_NAME`.
        bundle_id: The bundle that is in it; None for the base.
        state: How the LoRA is applied.
        model: GGUF file.
        adapter: GGUF adapter attached at run time, for the state `adapter`.
        answer: What its answers may look like; `prepare` takes it from the file.
        residual_prompt: What stands in front of each chat; `prepare` takes it from the file.
        chat_problem: Why it takes no chats, known once it was loaded; empty when it does.
        context_tokens: Prompt and answer together, known once it was loaded.
    """

    name: str
    bundle_id: str | None
    state: Literal["base", "adapter", "merged"]
    model: Path
    adapter: Path | None = None
    answer: AnswerContract = TEXT_ANSWER
    residual_prompt: str = ""
    chat_problem: str = ""
    context_tokens: int | None = None

    @property
    def fingerprint(self) -> str:
        """Names the revision in its answers: `STATE.WEIGHTS` or `STATE.WEIGHTS-BUNDLE`.

        WEIGHTS stands for the model file: what is attached answers otherwise once the base is quantized.
        """
        weights = f"{self.state}.{sha256_hex(self.model.name.encode())[:8]}"
        return weights if self.bundle_id is None else f"{weights}-{self.bundle_id}"

    @property
    def files(self) -> tuple[Path, ...]:
        """What it is loaded from."""
        return (self.model,) if self.adapter is None else (self.model, self.adapter)


class Slot:
    """A loaded revision: an engine behind its worker, and the number of requests that are on it."""

    def __init__(self, revision: Revision, worker: Worker) -> None:
        self.revision = revision
        self.worker = worker
        self.leases = 0
        self.used = 0
        self.retired = False


class SlotTable:
    """The slots of a device.

    Args:
        loader: Makes engines.
        max_resident: Slots loaded at a time.
        max_queue: Requests of one slot, waiting or being answered.
        room_wait_seconds: How long a request waits for a slot to fall idle when all are busy.
        limits: What a request may take.
    """

    def __init__(
        self,
        loader: EngineLoader,
        max_resident: int,
        max_queue: int,
        room_wait_seconds: float = 10.0,
        limits: RequestLimits = DEFAULT_LIMITS,
    ) -> None:
        self._loader = loader
        self._max_resident = max_resident
        self._max_queue = max_queue
        self._limits = limits
        self._room_wait_seconds = room_wait_seconds
        self._revisions: dict[str, Revision] = {}
        self._resident: dict[str, Slot] = {}
        self._draining: set[Slot] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}
        self._loading = 0
        self._opening: Counter[Path] = Counter()
        self._changed = asyncio.Event()
        self._uses = itertools.count(1)
        self._use_of: defaultdict[str, Use] = defaultdict(Use)
        self._broken: set[Revision] = set()
        self.on_broken: Callable[[], None] = lambda: None
        """Called when a revision is broken; `updates` then takes it and repairs it."""

    @property
    def max_resident(self) -> int:
        """Slots loaded at a time."""
        return self._max_resident

    def revisions(self) -> dict[str, Revision]:
        """What serves under each name."""
        return dict(self._revisions)

    def uses(self) -> dict[str, Use]:
        """What requests had the model of each name do since the start."""
        return dict(self._use_of)

    def note_tokens(self, name: str, read: int, written: int) -> None:
        """Add what one request had the model of a name do."""
        use = self._use_of[name]
        self._use_of[name] = replace(
            use, read_tokens=use.read_tokens + read, written_tokens=use.written_tokens + written
        )

    def revision(self, name: str) -> Revision:
        """What serves under a name.

        Raises:
            UnknownModelError: Nothing does.
        """
        if revision := self._revisions.get(name):
            return revision
        known = ", ".join(sorted(self._revisions)) or "none yet"
        raise UnknownModelError(f"no model {name[:80]!r} on this device", f"it serves: {known}")

    def is_resident(self, name: str) -> bool:
        """Whether a request for `name` finds its slot loaded."""
        return name in self._resident

    def resident_count(self) -> int:
        """Slots that are loaded, those that drain included."""
        return len(self._resident) + len(self._draining)

    def sequences(self) -> int:
        """Requests that the loaded slots can answer at a time."""
        return sum(slot.worker.sequences for slot in self._loaded())

    def sequences_in_use(self) -> int:
        """Requests that are being answered, over all slots."""
        return sum(slot.worker.running for slot in self._loaded())

    def requests_waiting(self) -> int:
        """Requests that wait for a sequence, over all slots."""
        return sum(slot.worker.waiting for slot in self._loaded())

    def paths_in_use(self) -> set[Path]:
        """Files that a name points to, that a slot still has open, or that are being loaded."""
        revisions = {*self._revisions.values(), *(slot.revision for slot in self._loaded())}
        return {path for revision in revisions for path in revision.files} | set(self._opening)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[Slot]:
        """Lease the slot that serves `name` now; it stays open until the block is left.

        Raises:
            UnknownModelError: Nothing serves under this name.
            BusyError: No room for the slot within the wait.
            ModelLoadError: The slot had to be loaded, and could not be.
        """
        slot = await self._acquire(name)
        slot.leases += 1
        slot.used = next(self._uses)
        self._use_of[name] = replace(self._use_of[name], requests=self._use_of[name].requests + 1)
        try:
            yield slot
        finally:
            slot.leases -= 1
            if slot.retired and slot.leases == 0:
                self._close_later(slot)
            self._trim()
            self._changed.set()

    async def prepare(self, revision: Revision) -> Slot:
        """Load a candidate beside what serves. It must then go to `activate` or `discard`.

        Raises:
            ModelLoadError: A file is missing, damaged, or does not fit.
        """
        self._opening.update(revision.files)
        loading = asyncio.create_task(self._open(revision))
        try:
            engine = await asyncio.shield(loading)
        except asyncio.CancelledError:
            self._finish_later(self._close_unwanted(loading))
            raise
        revision = replace(
            revision,
            answer=engine.answer,
            residual_prompt=engine.residual_prompt,
            chat_problem=engine.chat_problem,
            context_tokens=engine.context_tokens,
        )
        return Slot(revision, Worker(engine, self._max_queue, f"slot-{revision.name}", self._limits))

    def activate(self, slot: Slot) -> None:
        """Let a prepared slot answer all requests for its name that start from now on."""
        name = slot.revision.name
        self._revisions[name] = slot.revision
        slot.used = next(self._uses)
        self._retire(self._resident.pop(name, None))
        self._resident[name] = slot
        self._trim()
        self._changed.set()

    async def discard(self, slot: Slot) -> None:
        """Close a prepared slot that will not serve."""
        await asyncio.to_thread(slot.worker.close)

    def register(self, revision: Revision) -> None:
        """Let `revision` serve its name, loading it when the first request comes."""
        self._revisions[revision.name] = revision
        self._retire(self._resident.pop(revision.name, None))
        self._changed.set()

    def remove(self, name: str) -> None:
        """Serve nothing under `name` any more; requests on it finish."""
        self._revisions.pop(name, None)
        self._retire(self._resident.pop(name, None))
        self._changed.set()

    def unload(self, name: str) -> None:
        """Unload what serves `name`, unless a request is on it. The next request loads it again."""
        slot = self._resident.get(name)
        if slot is not None and slot.leases == 0:
            self._retire(self._resident.pop(name))
            self._changed.set()

    def mark_broken(self, revision: Revision) -> None:
        """Note that a request wanted `revision` and it could not be loaded."""
        self._broken.add(revision)
        self.on_broken()

    def take_broken(self) -> list[Revision]:
        """The revisions that are broken, each returned once."""
        taken = list(self._broken)
        self._broken.clear()
        return taken

    async def drained(self) -> None:
        """Wait until every replaced slot has closed."""
        while self._draining:
            await self._wait_for_change()

    async def close(self) -> None:
        """Close every slot, ending the requests on them."""
        slots = [*self._resident.values(), *(slot for slot in self._draining if slot.leases)]
        self._revisions.clear()
        self._resident.clear()
        await asyncio.gather(*(asyncio.to_thread(slot.worker.close) for slot in slots), *self._closing)
        self._draining.clear()

    async def _acquire(self, name: str) -> Slot:
        while True:
            async with self._locks.setdefault(name, asyncio.Lock()):
                try:
                    revision = self.revision(name)
                except UnknownModelError:
                    self._locks.pop(name, None)
                    raise
                if slot := self._resident.get(name):
                    return slot
                if loaded := await self._load_on_demand(revision):
                    if self._is_current(revision) and name not in self._resident:
                        self._resident[name] = loaded
                        return loaded
                    # What was loaded is out of date.
                    await self.discard(loaded)

    def _loaded(self) -> tuple[Slot, ...]:
        return (*self._resident.values(), *self._draining)

    async def _open(self, revision: Revision) -> Engine:
        try:
            return await asyncio.to_thread(self._loader.load, revision.model, revision.adapter)
        finally:
            self._opening -= Counter(revision.files)

    async def _close_unwanted(self, loading: asyncio.Task[Engine]) -> None:
        try:
            engine = await loading
        except ServingError:
            return
        await asyncio.to_thread(engine.close)

    def _is_current(self, revision: Revision) -> bool:
        return self._revisions.get(revision.name) is revision

    async def _load_on_demand(self, revision: Revision) -> Slot | None:
        """Load a revision once there is room; None when it is out of date by then, and another is to be chosen."""
        await self._make_room(revision)
        self._loading += 1
        try:
            # Memory stays bounded only when the old slots are closed before the new one is loaded.
            # Whoever gives up waiting here must not cancel them.
            if self._closing:
                await asyncio.wait(self._closing)
            # Its files may be deleted from the moment on that another serves.
            return await self.prepare(revision) if self._is_current(revision) else None
        except ModelLoadError:
            if not self._is_current(revision):
                return None
            self.mark_broken(revision)
            raise
        finally:
            self._loading -= 1
            self._changed.set()

    async def _make_room(self, revision: Revision) -> None:
        try:
            async with asyncio.timeout(self._room_wait_seconds):
                while self._is_current(revision) and len(self._resident) + self._loading >= self._max_resident:
                    idle = self._least_recently_used()
                    if idle is None:
                        await self._wait_for_change()
                    else:
                        self._retire(self._resident.pop(idle))
        except TimeoutError as error:
            raise BusyError(
                f"all {self._max_resident} loaded models are busy", "raise LORAGEN_EDGE_MAX_RESIDENT, or ask again"
            ) from error

    async def _wait_for_change(self) -> None:
        # Setting the event wakes every task that waits now, even when one of them clears it at once.
        self._changed.clear()
        await self._changed.wait()

    def _trim(self) -> None:
        while len(self._resident) > self._max_resident and (idle := self._least_recently_used()):
            self._retire(self._resident.pop(idle))

    def _least_recently_used(self) -> str | None:
        idle = [name for name, slot in self._resident.items() if slot.leases == 0]
        return min(idle, key=lambda name: self._resident[name].used, default=None)

    def _retire(self, slot: Slot | None) -> None:
        if slot is None:
            return
        slot.retired = True
        self._draining.add(slot)
        if slot.leases == 0:
            self._close_later(slot)

    def _close_later(self, slot: Slot) -> None:
        self._finish_later(self._close_retired(slot))

    def _finish_later(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_retired(self, slot: Slot) -> None:
        try:
            await asyncio.to_thread(slot.worker.close)
        finally:
            self._draining.discard(slot)
            self._changed.set()
