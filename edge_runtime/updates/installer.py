"""Coordinator: turns a bundle on disk into a slot that serves, first as a run-time adapter, then merged.

Rules: what never served is tried by the canary first, and only a slot that answered serves. A failure before the
activation leaves what served before untouched, and no file behind. Which bundles are wanted, and what is remembered, is
decided by `updates.updater`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.checksum import remove_with_checksum
from edge_runtime.errors import CanaryUnfinishedError, EdgeError, MergeCancelledError, MergeError, OutputError
from edge_runtime.serving.slots import Revision, SlotTable
from edge_runtime.serving.specialization_metadata import read_metadata
from edge_runtime.updates.base_slot import BaseSlot
from edge_runtime.updates.canary import Canary
from edge_runtime.updates.disk import DataDirectory, is_intact, note_checksum
from edge_runtime.updates.first_answer import serve
from edge_runtime.updates.state import Installed, MergeSummary
from edge_runtime.updates.trial import Candidate, TrialReport
from loragen.contract.gguf_adapter import write_gguf_adapter

if TYPE_CHECKING:
    from loragen.contract.bundle import Bundle


class Installer:
    """Makes files and slots.

    Args:
        base: The base model's slot, and the device's edge model.
        disk: Where files go.
        slots: Where slots go.
        canary: Tries what never served.
        now: Unix seconds.
    """

    def __init__(
        self, base: BaseSlot, disk: DataDirectory, slots: SlotTable, canary: Canary, now: Callable[[], float]
    ) -> None:
        self._base = base
        self._disk = disk
        self._slots = slots
        self._canary = canary
        self._now = now

    def stop(self) -> None:
        """End a merge in progress at its next step, and what the canary tries."""
        self._base.stop()
        self._canary.stop()

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
            BaseGgufUnreadableError: There is no base model that it could be attached to now.
            ContractError: Its numbers are not finite.
            UpdateError, ModelLoadError, OutputError: The adapter does not work, or could not be written.
        """
        self._base.verify_serving()
        await asyncio.to_thread(self._base.model.verify_admitted, bundle.header)
        path = self._disk.adapter(bundle_id)
        try:
            await asyncio.to_thread(write_gguf_adapter, bundle, path, self._base.model.gguf_model)
        except OSError as error:
            # An adapter that is there was made of the same bundle: while it is intact it serves on a full disk too.
            if not (path.exists() and await asyncio.to_thread(is_intact, path)):
                raise OutputError(f"cannot write an adapter: {error.strerror or error}", "free some space") from error
        else:
            await asyncio.to_thread(note_checksum, path)
        if try_first:
            await self._try(Candidate(self._base.path, path, self._base.path))
        revision = Revision(name, bundle_id, "adapter", self._base.path, path)
        await (serve(self._slots, revision) if load_now else self._register(revision))
        if revision.model != self._base.path:
            # The base changed while it was loaded, and moved only the adapters that served by then.
            await self._base.move_adapters()
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
            self._base.verify_running()
            if not is_wanted():
                raise MergeCancelledError(f"{name} was replaced while it was merged")

        path = self._disk.slot(bundle_id, self._base.model.quantization)
        report = await asyncio.to_thread(self._base.model.merge, bundle, path, watch)
        await asyncio.to_thread(note_checksum, path)
        adapter = self._disk.adapter(bundle_id)
        try:
            trial = await self._try(Candidate(path, None, self._base.path, adapter if adapter.exists() else None))
            await serve(self._slots, Revision(name, bundle_id, "merged", path), is_wanted)
        except MergeCancelledError:
            raise
        except EdgeError:
            with suppress(OSError):
                remove_with_checksum(path)
            raise
        summary = MergeSummary(
            quantization=self._base.model.quantization,
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
            await self._try(Candidate(path, None, self._base.path))
        await (serve(self._slots, revision, is_wanted) if load_now else self._register(revision))

    async def is_merged_intact(self, installed: Installed) -> bool:
        """Whether a merged slot is on disk as it was written, so that only loading it can have failed."""
        return await asyncio.to_thread(is_intact, self._merged_path(installed))

    def _merged_path(self, installed: Installed) -> Path:
        quantization = installed.merge.quantization if installed.merge else self._base.model.quantization
        return self._disk.slot(installed.bundle_id, quantization)

    async def _register(self, revision: Revision) -> None:
        found = await asyncio.to_thread(read_metadata, revision.adapter or revision.model)
        self._slots.register(replace(revision, answer=found.answer, residual_prompt=found.residual_prompt))

    async def _try(self, candidate: Candidate) -> TrialReport:
        try:
            return await self._canary.verify(candidate)
        except CanaryUnfinishedError:
            self._base.verify_running()
            raise
