"""Coordinator: the slot of the base model, and the base GGUF behind it.

Rules:
- The quantized base GGUF serves; the base GGUF itself, when it needs or takes no quantizing.
- A base GGUF that is lost, on a device that knows from an earlier start which model it has, stops neither the start nor
  what was made of it: the quantized one, and what was merged. Nothing is made of it until it is back, for which each
  tick looks. Another model in its place is not taken for it, nor is a file that still changes: somebody copies it.

What serves beside the base is decided by `updates.updater`.
"""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import structlog

from edge_runtime.checksum import remove_with_checksum
from edge_runtime.errors import BaseGgufError, BaseGgufUnreadableError, EdgeError, MergeCancelledError, describe_error
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory, is_intact, note_checksum
from edge_runtime.updates.first_answer import serve
from loragen.contract.names import BASE_NAME
from loragen.web.errors import ConfigurationError

DOWN = "does not serve now: "

_SETTLED_SECONDS = 5.0
"""A file that nobody wrote for so long is whole: who copies one, writes all the time."""

_log = structlog.get_logger(__name__)


class BaseSlot:
    """What serves as the base model.

    Args:
        model: The device's edge model.
        disk: Where the quantized base GGUF goes.
        slots: Where it serves.

    Attributes:
        model: The device's edge model, read again when its base GGUF is back.
        path: The file that serves, and that adapters are attached to.
        message: Why it is not as it should be; empty when it is.
    """

    def __init__(self, model: DeviceModel, disk: DataDirectory, slots: SlotTable) -> None:
        self.model = model
        self.message = ""
        self._disk = disk
        self._slots = slots
        self._stopping = threading.Event()
        self._seen = ""
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
            await (self._bring_up_without() if self.model.problem else self._bring_up())
        except MergeCancelledError:
            raise
        except EdgeError as error:
            # The next request for it finds it broken again.
            self.message = DOWN + describe_error(error)
            if isinstance(error, BaseGgufUnreadableError) and not self.model.problem:
                self.model = replace(self.model, problem=describe_error(error))
            raise

    def due_in(self) -> float:
        """Seconds until it should be looked again for a base GGUF that was just seen; infinite when none was."""
        return _SETTLED_SECONDS if self._seen else math.inf

    async def look_for_base_gguf(self) -> bool:
        """Whether a base GGUF that was lost is back; what is made of it serves then.

        It is back when two looks see the same file.
        """
        if not self.model.problem:
            return False
        before, now = self._seen, await asyncio.to_thread(self.model.file_now)
        self._seen = now if now != before else ""
        if self._seen:
            return False
        try:
            model = await asyncio.to_thread(self.model.read_again)
        except (EdgeError, ConfigurationError) as error:
            self.model = replace(self.model, problem=describe_error(error))
            return False
        _log.info("base_gguf_found", path=str(model.path))
        self.model = model
        try:
            await self.bring_up()
        except EdgeError as error:
            # It is looked for again, as what does not serve yet.
            self.model = replace(model, problem=describe_error(error))
            return False
        return True

    async def _bring_up(self) -> None:
        model, quantized = self.model, self.quantized
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
            await asyncio.to_thread(model.quantize_base, quantized, self.verify_running)
            await asyncio.to_thread(note_checksum, quantized)
            await self._serve(quantized)
        except (MergeCancelledError, BaseGgufUnreadableError):
            raise
        except EdgeError as error:
            await self._serve(model.path, f"served at the base GGUF's precision: {error}")

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

    async def _damage(self) -> str:
        try:
            await asyncio.to_thread(self.model.verify_undamaged)
        except BaseGgufError as error:
            return describe_error(error)
        return ""
