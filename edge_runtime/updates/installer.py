"""Coordinator: turns a bundle on disk into a slot that serves, first as a run-time adapter, then merged.

Rules: what never served is tried by the canary first, and only a slot that answered serves. A failure before the
activation leaves what served before untouched, and no file behind. Which bundles are wanted, and what is remembered, is
decided by `updates.updater`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.checksum import remove_with_checksum, verify_checksum, write_checksum
from edge_runtime.errors import (
    BaseGgufError,
    CanaryUnfinishedError,
    EdgeError,
    MergeCancelledError,
    MergeError,
    ModelLoadError,
    OutputError,
    describe_error,
)
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.serving.specialization_metadata import read_metadata
from edge_runtime.updates.canary import Canary
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory, is_shortage
from edge_runtime.updates.first_answer import verify_answers
from edge_runtime.updates.state import Installed, MergeSummary
from edge_runtime.updates.trial import Candidate, TrialReport
from loragen.contract.gguf_adapter import write_gguf_adapter
from loragen.contract.names import BASE_NAME

if TYPE_CHECKING:
    from loragen.contract.bundle import Bundle


class Installer:
    """Makes files and slots.

    Args:
        model: The device's edge model.
        disk: Where files go.
        slots: Where slots go.
        canary: Tries what never served.
        now: Unix seconds.
    """

    def __init__(
        self, model: DeviceModel, disk: DataDirectory, slots: SlotTable, canary: Canary, now: Callable[[], float]
    ) -> None:
        self._model = model
        self._disk = disk
        self._slots = slots
        self._canary = canary
        self._now = now
        self._stopping = threading.Event()
        self._quantized = disk.base(model.identity, model.quantization)
        self._base = self._quantized

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End a merge in progress at its next step, and what the canary tries."""
        self._stopping.set()
        self._canary.stop()

    async def bring_up_base(self) -> str:
        """Let the quantized base GGUF serve as the base; the base GGUF itself, when it needs or takes no quantizing.

        Returns:
            Why it is not the quantized one; empty when it is.

        Raises:
            EdgeError: Not even the base GGUF can serve.
        """
        if self._model.serves_base_gguf:
            await self._serve_base(self._model.path)
            # After it: by then its first answer has read the file.
            return await self._damage()
        try:
            if self._quantized.exists():
                try:
                    return await self._serve_base(self._quantized)
                except EdgeError:
                    if await asyncio.to_thread(_is_intact, self._quantized):
                        # Another one would be the same.
                        raise
                    with suppress(OSError):
                        remove_with_checksum(self._quantized)
            await asyncio.to_thread(self._model.quantize_base, self._quantized, self._verify_running)
            await self._note_checksum(self._quantized)
            return await self._serve_base(self._quantized)
        except MergeCancelledError:
            raise
        except EdgeError as error:
            return await self._serve_base(self._model.path, f"served at the base GGUF's precision: {error}")

    async def _damage(self) -> str:
        try:
            await asyncio.to_thread(self._model.verify_undamaged)
        except BaseGgufError as error:
            return describe_error(error)
        return ""

    async def _serve_base(self, path: Path, message: str = "") -> str:
        await self._serve(Revision(BASE_NAME, None, "base", path))
        self._base = path
        return message

    async def attach(
        self, name: str, bundle_id: str, bundle: Bundle, *, try_first: bool, load_now: bool = True
    ) -> Installed:
        """Serve a bundle as a run-time adapter on the base model.

        Args:
            name: Its specialization.
            bundle_id: Its id.
            bundle: The bundle.
            try_first: Let the canary try it before; not needed for what has served.
            load_now: Load and check it at once; otherwise the first request does.

        Raises:
            BaseGgufError: The bundle is for another model.
            ContractError: Its numbers are not finite.
            UpdateError, ModelLoadError, OutputError: The adapter does not work, or could not be written.
        """
        await asyncio.to_thread(self._model.verify_admitted, bundle.header)
        path = self._disk.adapter(bundle_id)
        try:
            await asyncio.to_thread(write_gguf_adapter, bundle, path, self._model.gguf_model)
        except OSError as error:
            # An adapter that is there was written whole, of the same bytes: it serves on a full disk too.
            if not path.exists():
                raise OutputError(f"cannot write an adapter: {error.strerror or error}", "free some space") from error
        await self._note_checksum(path)
        if try_first:
            await self._try(Candidate(self._base, path, self._base))
        revision = Revision(name, bundle_id, "adapter", self._base, path)
        await (self._serve(revision) if load_now else self._register(revision))
        return Installed(bundle_id, "adapter", bundle.header.tokens_saved_per_call, int(self._now()))

    async def merge(self, name: str, bundle_id: str, bundle: Bundle, is_wanted: Callable[[], bool]) -> Installed:
        """Merge a bundle into the model and serve the result.

        Raises:
            RetainedDeltaError: Too little of the delta would be left.
            MergeCancelledError: `is_wanted` said no in the meantime, or the device is stopping.
            MergeError: It could not be merged or written.
            UpdateError, ModelLoadError: The result does not work; its file is removed.
        """

        def watch(_written: int, _total: int) -> None:
            self._verify_running()
            if not is_wanted():
                raise MergeCancelledError(f"{name} was replaced while it was merged")

        path = self._disk.slot(bundle_id, self._model.quantization)
        report = await asyncio.to_thread(self._model.merge, bundle, path, watch)
        await self._note_checksum(path)
        adapter = self._disk.adapter(bundle_id)
        try:
            trial = await self._try(Candidate(path, None, self._base, adapter if adapter.exists() else None))
            await self._serve(Revision(name, bundle_id, "merged", path), is_wanted)
        except MergeCancelledError:
            raise
        except EdgeError:
            with suppress(OSError):
                remove_with_checksum(path)
            raise
        summary = MergeSummary(
            quantization=self._model.quantization,
            strategy=report.strategy,
            seconds=round(report.seconds, 3),
            retained_delta=round(report.min_retained_delta, 4),
            retained_delta_mean=round(report.mean_retained_delta, 4),
            agreement=None if trial.agreement is None else round(trial.agreement, 4),
        )
        return Installed(bundle_id, "merged", bundle.header.tokens_saved_per_call, int(self._now()), summary)

    async def bring_up_merged(
        self,
        name: str,
        installed: Installed,
        load_now: bool,
        is_wanted: Callable[[], bool] = lambda: True,
        try_first: bool = False,
    ) -> None:
        """Serve a merged slot that is on disk already.

        Args:
            name: Its specialization.
            installed: What it is.
            load_now: Load and check it at once; otherwise the first request does.
            is_wanted: Asked when it is loaded and checked.
            try_first: As in `attach`.

        Raises:
            MergeError: Its file is gone, or it is no longer wanted.
            UpdateError, ModelLoadError: It does not work, or its header cannot be read.
        """
        path = self._merged_path(installed)
        if not path.exists():
            raise MergeError(f"{path.name} is gone")
        revision = Revision(name, installed.bundle_id, "merged", path)
        if try_first:
            await self._try(Candidate(path, None, self._base))
        await (self._serve(revision, is_wanted) if load_now else self._register(revision))

    async def is_merged_intact(self, installed: Installed) -> bool:
        """Whether a merged slot is on disk as it was written, so that only loading it can have failed."""
        return await asyncio.to_thread(_is_intact, self._merged_path(installed))

    def _merged_path(self, installed: Installed) -> Path:
        quantization = installed.merge.quantization if installed.merge else self._model.quantization
        return self._disk.slot(installed.bundle_id, quantization)

    async def _note_checksum(self, path: Path) -> None:
        # A slot without a checksum serves too; damage to it is then found late.
        with suppress(OSError):
            await asyncio.to_thread(write_checksum, path)

    async def _register(self, revision: Revision) -> None:
        found = await asyncio.to_thread(read_metadata, revision.adapter or revision.model)
        self._slots.register(replace(revision, answer=found.answer, residual_prompt=found.residual_prompt))

    async def _try(self, candidate: Candidate) -> TrialReport:
        try:
            return await self._canary.verify(candidate)
        except CanaryUnfinishedError:
            self._verify_running()
            raise

    async def _serve(self, revision: Revision, is_wanted: Callable[[], bool] = lambda: True) -> None:
        slot = await self._slots.prepare(revision)
        try:
            await verify_answers(slot)
            if not is_wanted():
                raise MergeCancelledError(f"{revision.name} was replaced meanwhile")
        except BaseException:
            await self._slots.discard(slot)
            raise
        self._slots.activate(slot)

    def _verify_running(self, _written: int = 0, _total: int = 0) -> None:
        if self._stopping.is_set():
            raise MergeCancelledError("the device is shutting down")


def _is_intact(path: Path) -> bool:
    """Whether a model file has its checksum, as far as it can be read now."""
    try:
        verify_checksum(path, required=True)
    except ModelLoadError as error:
        return isinstance(error.__cause__, OSError) and is_shortage(error.__cause__)
    return True
