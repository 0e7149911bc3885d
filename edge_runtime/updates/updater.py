"""Coordinator: keeps what serves equal to what the channel lists, and brings it back after a restart.

One `tick` polls when a poll is due, applies what changed, and says when it wants to be called again. Merges take longer
and run beside it (`merge_pending`). Rules:
- Whatever fails leaves what served before, is remembered with its reason, and is tried again later and later, unless
  the same bytes would fail again. It fails for its own specialization, even in a way that nobody foresaw.
- What served is forgotten only when its bundle is missing, damaged or refused; while it merely cannot be loaded, its
  files are kept and tried again.
- The state on disk follows each activation; after a crash between the two, the next run installs the same thing again.
- A specialization that the channel no longer lists is unloaded and its files are deleted; a channel that cannot be had,
  or is not there, deletes nothing; nor does a device whose state is lost or of another edge model, until it has heard
  the channel.
- Files are deleted in `tick` only, so that nothing is deleted while it is being installed.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import structlog

from edge_runtime.cloud.poller import Poller
from edge_runtime.errors import EdgeError, IntegrityError, MergeCancelledError, UpdateError
from edge_runtime.serving.slots import SlotTable
from edge_runtime.telemetry import Telemetry, UpdateRecord
from edge_runtime.updates.artifacts import Artifacts
from edge_runtime.updates.clock import Clock
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.installer import Installer
from edge_runtime.updates.rules import is_permanent, plan_changes, verify_wanted
from edge_runtime.updates.state import Entry, Installed
from edge_runtime.updates.state_store import StateStore, describe, error_code
from loragen.contract.channel import Channel, Specialization
from loragen.contract.errors import ContractError
from loragen.contract.names import BASE_NAME

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 3_600.0
"""Between two ticks when there is nothing to poll and nothing to retry."""

_RETRY_CHECK_SECONDS = 1.0
"""Between two ticks while something is due that runs beside them: a merge that is tried again."""

_DOWN = "does not serve now: "


class Updater:
    """The update side of a device.

    Args:
        poller: Follows the channel; None for a device without a cloud.
        artifacts: Brings bundles.
        installer: Makes slots of them.
        memory: What is known.
        slots: What serves.
        model: The device's edge model.
        disk: Its files.
        clock: For the durations in records.
        telemetry: Gets a record of each attempt.

    Attributes:
        base_message: Why the base model is not as it should be; empty when it is.
        is_restored: Whether `restore` is done.
        is_fetching: Whether a tick is waiting for the cloud, and loses nothing when it is cancelled.
    """

    def __init__(
        self,
        *,
        poller: Poller | None,
        artifacts: Artifacts,
        installer: Installer,
        state_store: StateStore,
        slots: SlotTable,
        model: DeviceModel,
        disk: DataDirectory,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.poller = poller
        self.state_store = state_store
        self.base_message = ""
        self.is_restored = False
        self.is_fetching = False
        self._artifacts = artifacts
        self._installer = installer
        self._slots = slots
        self._model = model
        self._disk = disk
        self._clock = clock
        self._telemetry = telemetry

    async def restore(self) -> None:
        """Bring up the base and everything that served before the restart, without the cloud.

        Raises:
            EdgeError: Not even the base can serve.
        """
        await asyncio.to_thread(self._disk.remove_unfinished)
        await self.state_store.load()
        base = await self._installer.bring_up_base()
        self.base_message = base.message
        newest_first = sorted(
            self.state_store.state.entries.items(), key=lambda item: item[1].active.activated_at, reverse=True
        )
        for count, (name, entry) in enumerate(newest_first, start=1):
            await self._bring_up(name, entry, load_now=count < self._slots.max_resident)
        self.is_restored = True

    async def tick(self) -> float:
        """Do what is due.

        Returns:
            Seconds until something is due again.
        """
        for name in self._disk.take_rollback_requests():
            await self._roll_back(name)
        await self._repair()
        if self.poller is not None:
            if self.poller.due_in() <= 0:
                with self._fetching():
                    await self.poller.poll()
            if self.poller.wanted is not None:
                await self._follow(self.poller.wanted)
        await self._collect()
        poll_in = math.inf if self.poller is None else self.poller.due_in()
        return min(poll_in, max(self.state_store.due_in(), _RETRY_CHECK_SECONDS), IDLE_SECONDS)

    async def merge_pending(self) -> int:
        """Merge, one after another, what serves as an adapter and is due.

        Returns:
            How many merges were tried.
        """
        attempts = 0
        while not self._installer.is_stopping and (name := self._next_to_merge()) is not None:
            await self._merge(name, self.state_store.state.entries[name])
            attempts += 1
        return attempts

    def stop(self) -> None:
        """End a merge in progress at its next step; its specialization goes on as an adapter."""
        self._installer.stop()

    async def _follow(self, channel: Channel) -> None:
        await self.state_store.set_channel_version(channel.version)
        plan = plan_changes(channel, self.state_store.state)
        for name in plan.forget:
            await self.state_store.forget_failure(name)
        for name in plan.remove:
            with self._recorded("remove", name):
                self._slots.remove(name)
                await self.state_store.drop(name)
        for wanted in plan.install:
            if self.state_store.is_due(wanted.name):
                await self._install(wanted)

    async def _install(self, wanted: Specialization) -> None:
        name = wanted.name
        try:
            with self._recorded("fetch", name, wanted.bundle_id) as record:
                verify_wanted(wanted, self._model.model_id, self._model.digest)
                with self._fetching():
                    bundle, source = await self._artifacts.bundle(wanted)
                record(source=source)
            before = self.state_store.state.entries.get(name)
            with self._recorded("attach", name, wanted.bundle_id):
                if before and before.previous and before.previous.bundle_id == wanted.bundle_id:
                    installed = await self._serve_again(name, before.previous, load_now=True)
                else:
                    installed = await self._installer.attach(name, wanted.bundle_id, bundle)
        except Exception as error:
            await self.state_store.fail(name, wanted.bundle_id, error)
            return
        # Read again: while this waited, what serves may have been merged.
        before = self.state_store.state.entries.get(name)
        await self.state_store.put(name, Entry(installed, previous=before.active if before else None))

    def _next_to_merge(self) -> str | None:
        for name, entry in self.state_store.state.entries.items():
            failure = self.state_store.state.failures.get(name)
            failed = failure is not None and failure.permanent and failure.bundle_id == entry.active.bundle_id
            if self._needs_merge(entry.active) and not failed and self.state_store.is_due(name):
                return name
        return None

    def _needs_merge(self, installed: Installed) -> bool:
        if installed.state == "adapter":
            return not installed.merge_refused
        return installed.merge is None or installed.merge.quantization != self._model.quantization

    async def _merge(self, name: str, entry: Entry) -> None:
        bundle_id = entry.active.bundle_id

        def is_wanted() -> bool:
            current = self.state_store.state.entries.get(name)
            return current is not None and current.active.bundle_id == bundle_id

        try:
            with self._recorded("merge", name, bundle_id) as record:
                merged = await self._use_merged(name, bundle_id, is_wanted) or await self._installer.merge(
                    name, bundle_id, await self._artifacts.stored(bundle_id), is_wanted
                )
                record(retained_delta=merged.merge.retained_delta if merged.merge else None)
        except MergeCancelledError:
            return
        except Exception as error:
            if not is_wanted():
                return
            entry = self.state_store.state.entries[name]
            refused = is_permanent(error)
            message = f"{'kept as' if refused else 'still a'} run-time adapter: {describe(error)}"
            if entry.active.state == "adapter":
                kept = replace(entry, active=replace(entry.active, merge_refused=refused, message=message))
                if refused:
                    await self.state_store.put(name, kept)
                    return
                await self.state_store.note(name, kept)
            await self.state_store.fail(name, bundle_id, error)
            return
        if is_wanted():
            await self.state_store.put(name, replace(self.state_store.state.entries[name], active=merged))

    async def _use_merged(self, name: str, bundle_id: str, is_wanted: Callable[[], bool]) -> Installed | None:
        """Serve the merged file that the same bundle has under another name; None when there is none that works.

        Raises:
            MergeCancelledError: `is_wanted` said no in the meantime.
        """
        for entry in self.state_store.state.entries.values():
            twin = entry.active
            if twin.bundle_id == bundle_id and twin.state == "merged" and not self._needs_merge(twin):
                try:
                    await self._installer.bring_up_merged(name, twin, True, is_wanted)
                except MergeCancelledError:
                    raise
                except EdgeError:
                    continue
                return twin
        return None

    async def _roll_back(self, name: str) -> None:
        entry = self.state_store.state.entries.get(name)
        with suppress(Exception), self._recorded("rollback", name):
            if entry is None or entry.previous is None:
                raise UpdateError(f"{name}: nothing to roll back to", code="no_previous")
            before = await self._serve_again(name, entry.previous, load_now=True)
            await self.state_store.put(name, Entry(before, held=entry.active.bundle_id))

    async def _bring_up(self, name: str, entry: Entry, load_now: bool) -> None:
        try:
            with self._recorded("restore", name, entry.active.bundle_id):
                active = await self._serve_again(name, entry.active, load_now)
        except Exception as error:
            if self.state_store.state.entries.get(name) != entry:
                # Merged meanwhile, and serving.
                return
            if isinstance(error, (IntegrityError, ContractError)):
                await self._without_active(name, entry)
            else:
                # `_repair` tries a name again that has an entry and no slot.
                self._slots.remove(name)
                down = replace(entry.active, message=_DOWN + describe(error))
                await self.state_store.note(name, replace(entry, active=down))
            await self.state_store.fail(name, entry.active.bundle_id, error, retry=True)
            return
        if active != entry.active:
            await self.state_store.put(name, replace(entry, active=active))

    async def _without_active(self, name: str, entry: Entry) -> None:
        """What serves is lost on disk: go on with what served before it, when that is still there."""
        if entry.previous is None:
            self._slots.remove(name)
            await self.state_store.drop(name)
        else:
            before = Entry(entry.previous)
            await self.state_store.put(name, before)
            await self._bring_up(name, before, load_now=True)

    async def _serve_again(self, name: str, installed: Installed, load_now: bool) -> Installed:
        """Serve what served before: its merged file when that still works, else its bundle as an adapter.

        Raises:
            IntegrityError, ContractError: Neither is what it was.
            EdgeError: It cannot be served now.
        """
        message = "" if installed.message.startswith(_DOWN) else installed.message
        unusable: EdgeError | None = None
        if installed.state == "merged":
            try:
                await self._installer.bring_up_merged(name, installed, load_now)
                return replace(installed, message=message)
            except EdgeError as error:
                unusable = error
                _log.warning("merged_slot_unusable", name=name, reason=describe(error))
        try:
            bundle = await self._artifacts.stored(installed.bundle_id)
        except (IntegrityError, ContractError):
            if unusable is not None and await self._installer.is_merged_intact(installed):
                raise unusable from None
            raise
        attached = await self._installer.attach(name, installed.bundle_id, bundle)
        return replace(attached, merge_refused=installed.merge_refused, message=message)

    async def _repair(self) -> None:
        """Bring back what a request found broken on disk, and try again what could not be brought back before."""
        for revision in list(self._slots.broken):
            del self._slots.broken[revision]
            if revision.name == BASE_NAME:
                await self._repair_base()
                continue
            entry = self.state_store.state.entries.get(revision.name)
            if entry is not None and entry.active.bundle_id == revision.bundle_id:
                await self._bring_up(revision.name, entry, load_now=True)
        for name, entry in self.state_store.state.entries.items():
            if name not in self._slots.revisions() and self.state_store.is_due(name):
                await self._bring_up(name, entry, load_now=True)

    async def _repair_base(self) -> None:
        try:
            self.base_message = (await self._installer.bring_up_base()).message
        except EdgeError as error:
            # The next request for it finds it broken again.
            self.base_message = _DOWN + describe(error)

    async def _collect(self) -> None:
        if self.state_store.is_lost and (self.poller is None or self.poller.wanted is None):
            return
        keep = self._slots.paths_in_use() | {self._disk.base(self._model.identity, self._model.quantization)}
        for entry in self.state_store.state.entries.values():
            for installed in (entry.active, entry.previous):
                if installed is not None:
                    keep.add(self._disk.bundle(installed.bundle_id))
                    # Of the type that is being merged now, and of the one that serves until then.
                    types = {self._model.quantization, installed.merge.quantization if installed.merge else ""}
                    keep |= {self._disk.slot(installed.bundle_id, each) for each in types}
            if entry.active.state == "adapter":
                keep.add(self._disk.adapter(entry.active.bundle_id))
        banks: set[str] | None = None
        if self.poller is not None and self.poller.wanted is not None:
            banks = {wanted.bank_digest for wanted in self.poller.wanted.specializations}
            keep |= {self._disk.bundle(wanted.bundle_id) for wanted in self.poller.wanted.specializations}
        deleted = await asyncio.to_thread(self._disk.collect, keep, banks)
        if deleted:
            _log.info("files_collected", count=len(deleted))

    @contextmanager
    def _fetching(self) -> Iterator[None]:
        self.is_fetching = True
        try:
            yield
        finally:
            self.is_fetching = False

    @contextmanager
    def _recorded(self, step: str, name: str, bundle_id: str | None = None) -> Iterator[Callable[..., None]]:
        """Record an attempt however it ends; what it is given may add to the record."""
        started = self._clock.monotonic()
        details: dict[str, Any] = {}
        outcome, message = "ok", None
        try:
            yield details.update
        except (EdgeError, ContractError) as error:
            outcome, message = error_code(error), describe(error)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception as error:
            _log.exception("update_crashed", step=step, name=name)
            outcome, message = error_code(error), describe(error)
            raise
        finally:
            seconds = round(self._clock.monotonic() - started, 6)
            channel = self.state_store.state.channel
            record = UpdateRecord(step, outcome, seconds, channel, name, bundle_id, message=message)
            self._telemetry.update_finished(replace(record, **details))
