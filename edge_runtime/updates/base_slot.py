"""Coordinator: the slot of the base model, and the base GGUF behind it.

Rules:
- The quantized base GGUF serves; the base GGUF itself, when it needs or takes no quantizing.
- Until it is quantized for the first time, which takes minutes on a slow processor, what served before goes on, or the
  base GGUF serves as it is: the device answers at once. One that does not fit the memory, or was written a moment ago
  and may still be copied, is quantized before it serves.
- A base GGUF that is lost, on a device that knows from an earlier start which model it has, stops neither the start nor
  what was made of it: the quantized one, and what was merged. Nothing is made of it until it is back, for which each
  tick looks. Another model in its place is not taken for it, nor is a file that still changes: somebody copies it.
- What failed is tried again after waits that double; a file that changed since, as soon as it is whole.

Adapters follow to what serves. What serves beside the base is decided by `updates.updater`.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from edge_runtime.checksum import remove_with_checksum
from edge_runtime.cloud.pacing import backoff_delay
from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError, EdgeError, MergeCancelledError, describe_error
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.updates.attempts import Attempts
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory, is_intact, note_checksum
from edge_runtime.updates.first_answer import serve
from edge_runtime.updates.rules import is_permanent
from loragen.contract.names import BASE_NAME
from loragen.web.errors import ConfigurationError

DOWN = "does not serve now: "

_SETTLED_SECONDS = 5.0
"""A file that nobody wrote for so long is whole: who copies one, writes all the time."""

_FIRST_RETRY_SECONDS = 10.0
"""Longest wait after the first failure: what was short of memory or disk for a moment is over by then."""

_log = structlog.get_logger(__name__)


class BaseSlot:
    """What serves as the base model.

    Args:
        model: The device's edge model.
        disk: Where the quantized base GGUF goes.
        slots: Where it serves.
        attempts: Records that it is quantized.
        max_bytes: Longest base GGUF that serves as it is until it is quantized.
        monotonic: Seconds that never jump.

    Attributes:
        model: The device's edge model, read again when its base GGUF is back.
        path: The file that serves, and that adapters are attached to.
        message: Why it is not as it should be; empty when it is.
    """

    def __init__(
        self,
        model: DeviceModel,
        disk: DataDirectory,
        slots: SlotTable,
        attempts: Attempts,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.message = ""
        self._disk = disk
        self._slots = slots
        self._stopping = threading.Event()
        self._recorded = attempts.recorded
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._changing = asyncio.Lock()
        self._awaits_quantizing = False
        self._seen = ""
        self._failed = ""
        self._failures = 0
        self._try_at = -math.inf
        self.path = self.quantized

    @property
    def quantized(self) -> Path:
        """Where the quantized base GGUF is, or would be."""
        return self._disk.base(self.model.identity, self.model.quantization)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End quantizing at its next step."""
        self._stopping.set()

    def verify_running(self, _written: int = 0, _total: int = 0) -> None:
        """Go on.

        Raises:
            MergeCancelledError: `stop` was called.
        """
        if self._stopping.is_set():
            raise MergeCancelledError("the device is shutting down")

    def verify_serving(self) -> None:
        """Check that adapters have a base to be attached to.

        Raises:
            BaseGgufUnreadableError: They have none.
        """
        if BASE_NAME not in self._slots.revisions():
            raise BaseGgufUnreadableError(self.model.problem or "the base model does not serve yet")

    async def bring_up(self) -> None:
        """Let it serve.

        Raises:
            EdgeError: Not even the base GGUF can serve; `BaseGgufUnreadableError` when it is lost, and then looked for.
        """
        try:
            async with self._changing:
                await (self._bring_up_without() if self.model.problem else self._bring_up())
        except MergeCancelledError:
            raise
        except EdgeError as error:
            # The next request for it finds it broken again.
            self.message = DOWN + describe_error(error)
            if isinstance(error, BaseGgufUnreadableError) and not self.model.problem:
                self.model = replace(self.model, problem=describe_error(error))
            raise

    async def quantize_pending(self) -> int:
        """Quantize the base GGUF when it serves as it is until then; until the end, and on failure, that goes on.

        Returns:
            How often it was tried: 0 or 1.
        """
        if not self._awaits_quantizing or self.model.problem or self.is_stopping or not self._may_try():
            return 0
        try:
            async with self._changing:
                if self._awaits_quantizing:
                    await self._quantize()
        except MergeCancelledError:
            pass
        except BaseGgufUnreadableError as error:
            self.model = replace(self.model, problem=describe_error(error))
            self.message = f"nothing is merged without the base GGUF: {self.model.problem}"
        except Exception as error:
            self._note_unquantized(error)
        return 1

    def _note_unquantized(self, error: Exception) -> None:
        self.message = f"served at the base GGUF's precision: {describe_error(error)}"
        self._awaits_quantizing = not is_permanent(error)
        self._wait_longer()

    def due_in(self) -> float:
        """Seconds until something is to be tried again, or a base GGUF looked at again; infinite when nothing is."""
        if self._seen:
            return _SETTLED_SECONDS
        waits = self._failed if self.model.problem else self._awaits_quantizing
        return max(0.0, self._try_at - self._monotonic()) if waits and self._failures else math.inf

    async def look_for_base_gguf(self) -> bool:
        """Whether a base GGUF that was lost is back; what is made of it serves then.

        It is back when two looks see the same file.
        """
        if not self.model.problem:
            return False
        before, now = self._seen, await asyncio.to_thread(self.model.file_now)
        if now != self._failed:
            self._failed, self._failures, self._try_at = "", 0, -math.inf
        if not self._may_try():
            return False
        self._seen = now if now != before else ""
        if self._seen:
            return False
        try:
            model = await asyncio.to_thread(self.model.read_again)
        except (EdgeError, ConfigurationError) as error:
            self._note_unusable(self.model, now, error)
            return False
        _log.info("base_gguf_found", path=str(model.path))
        self.model = model
        try:
            await self.bring_up()
        except EdgeError as error:
            # It is looked for again, as what does not serve yet.
            self._note_unusable(model, now, error)
            return False
        self._failures, self._try_at = 0, -math.inf
        return True

    def _note_unusable(self, model: DeviceModel, file: str, error: Exception) -> None:
        self.model, self._failed = replace(model, problem=describe_error(error)), file
        self._wait_longer()

    def _may_try(self) -> bool:
        return self._try_at <= self._monotonic()

    def _wait_longer(self) -> None:
        self._failures += 1
        # Nothing is drawn: nobody else waits for the same.
        self._try_at = self._monotonic() + backoff_delay(_FIRST_RETRY_SECONDS, self._failures, 1.0)

    async def _bring_up(self) -> None:
        model, quantized = self.model, self.quantized
        self._awaits_quantizing = False
        if model.serves_base_gguf:
            await self._serve(model.path)
            # After it: by then its first answer has read the file.
            self.message = await self._damage()
            return None
        try:
            if quantized.exists():
                try:
                    return await self._serve(quantized)
                except EdgeError:
                    if await asyncio.to_thread(is_intact, quantized):
                        # Another one would be the same.
                        raise
                    with suppress(OSError):
                        remove_with_checksum(quantized)
            self._awaits_quantizing = await self._serves_meanwhile()
            if not self._awaits_quantizing:
                await self._quantize()
        except (MergeCancelledError, BaseGgufUnreadableError):
            raise
        except Exception as error:
            await self._serve(model.path)
            self._note_unquantized(error)

    async def _serves_meanwhile(self) -> bool:
        """Whether something serves until the base GGUF is quantized."""
        if BASE_NAME in self._slots.revisions() and self.path not in (self.quantized, self.model.path):
            self.message = "served as it was until the base GGUF is quantized"
            return True
        try:
            status = await asyncio.to_thread(self.model.path.stat)
            if status.st_size > self._max_bytes or 0 <= time.time() - status.st_mtime < _SETTLED_SECONDS:
                return False
            await self._serve(self.model.path, "served at the base GGUF's precision until it is quantized")
        except (EdgeError, OSError):
            return False
        return True

    async def _quantize(self) -> None:
        quantized = self.quantized
        # What the device dies of, such as a lack of memory, it does not do for ever.
        with self._recorded("quantize", BASE_NAME, self.model.identity):
            # It may be there, and have failed to load for a while.
            if not await asyncio.to_thread(is_intact, quantized):
                await asyncio.to_thread(self.model.quantize_base, quantized, self.verify_running)
                await asyncio.to_thread(note_checksum, quantized)
            await self._serve(quantized)
        self._awaits_quantizing, self._failures, self._try_at = False, 0, -math.inf

    async def _bring_up_without(self) -> None:
        """Let the quantized one serve, which was made earlier."""
        problem, quantized = self.model.problem, self.quantized
        if self.model.serves_base_gguf or not quantized.exists():
            raise BaseGgufUnreadableError(problem)
        try:
            await self._serve(quantized, f"nothing is merged without the base GGUF: {problem}")
        except EdgeError as error:
            raise BaseGgufUnreadableError(f"{problem}; nor does {quantized.name} serve: {error}") from error

    async def _serve(self, path: Path, message: str = "") -> None:
        await serve(self._slots, Revision(BASE_NAME, None, "base", path))
        self.path, self.message = path, message
        await self.move_adapters()

    async def move_adapters(self) -> None:
        """Attach to what serves now the adapters that are on another file: it would stay in memory for them."""
        for name, revision in self._slots.revisions().items():
            if revision.state != "adapter" or revision.model == self.path or not self._is_current(revision):
                continue
            moved = replace(revision, model=self.path)
            if not self._slots.is_resident(name):
                self._slots.register(moved)
                continue
            try:
                await serve(self._slots, moved, partial(self._is_current, revision))
            except EdgeError as error:
                _log.warning("adapter_not_moved", name=name, reason=describe_error(error))

    def _is_current(self, revision: Revision) -> bool:
        return self._slots.revisions().get(revision.name) is revision

    async def _damage(self) -> str:
        try:
            await asyncio.to_thread(self.model.verify_undamaged)
        except BaseGgufError as error:
            return describe_error(error)
        return ""
