"""Coordinator: keeps what serves equal to what the channel lists, and brings it back after a restart.

One `tick` carries out the owner's commands, polls when a poll is due, applies what changed, and returns when it is due
again. Merges take longer and run beside it (`merge_pending`). Rules:
- Whatever fails leaves what served before. It is remembered with its reason and tried again later and later, unless the
  same bytes would fail again. A failure concerns its own specialization only, even an unforeseen one.
- What served is forgotten only when its bundle is missing, damaged or refused, or ends the device when it is loaded.
  While it merely cannot be loaded, its files stay and are tried again.
- The state on disk follows each activation; after a crash between the two, the next run installs the same thing again.
- A specialization that the channel no longer lists is unloaded and its files are deleted, unless it is pinned.
- A channel that cannot be had, is not there, or went back to an older version deletes nothing. A device whose state is
  lost or of another edge model deletes nothing before it has the channel.
- Files are deleted in `tick` only, so that nothing is deleted while it is being installed.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from edge_runtime.cloud.poller import Poller
from edge_runtime.errors import (
    BaseGgufUnreadableError,
    CanaryError,
    DeadlyAttemptError,
    DigestMismatchError,
    EdgeError,
    MergeCancelledError,
    describe_error,
)
from edge_runtime.merge_policy import MergePolicy
from edge_runtime.serving.slots import SlotTable
from edge_runtime.updates.artifacts import Artifacts
from edge_runtime.updates.attempts import Attempts
from edge_runtime.updates.base_slot import DOWN, BaseSlot
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.installer import Installer
from edge_runtime.updates.rules import describe_outcome, is_permanent, verify_wanted
from edge_runtime.updates.state import Command, Entry, Installed
from edge_runtime.updates.state_store import StateStore
from loragen.contract.channel import Channel, Specialization
from loragen.contract.errors import ContractError
from loragen.contract.names import BASE_NAME

_log = structlog.get_logger(__name__)

IDLE_SECONDS = 3_600.0
"""Between two ticks when there is nothing to poll and nothing to retry."""

_RETRY_CHECK_SECONDS = 1.0
"""Between two ticks while something is due that runs beside them: a merge that is tried again."""

_T = TypeVar("_T")


class Updater:
    """The update side of a device.

    Args:
        poller: Follows the channel; None for a device without a cloud.
        artifacts: Brings bundles.
        installer: Makes slots of them.
        state_store: What is known of each specialization.
        slots: What serves.
        base: The base model's slot, and the device's edge model.
        disk: Its files.
        attempts: Records each attempt.
        merge_policy: Which specializations are merged.

    Attributes:
        is_restored: Whether `restore` is done.
        merge_policy: Which specializations are merged.
    """

    def __init__(
        self,
        *,
        poller: Poller | None,
        artifacts: Artifacts,
        installer: Installer,
        state_store: StateStore,
        slots: SlotTable,
        base: BaseSlot,
        disk: DataDirectory,
        attempts: Attempts,
        merge_policy: MergePolicy,
    ) -> None:
        self.poller = poller
        self.state_store = state_store
        self.is_restored = False
        self._artifacts = artifacts
        self._installer = installer
        self._slots = slots
        self._base = base
        self._disk = disk
        self._recorded = attempts.recorded
        self._has_died = attempts.has_died
        self.merge_policy = merge_policy
        self._commands: deque[tuple[Command, asyncio.Future[str]]] = deque()
        self._commanded = asyncio.Event()

    async def restore(self) -> None:
        """Bring up the base and everything that served before the restart, without the cloud.

        Raises:
            EdgeError: Not even the base can serve; where its base GGUF is lost, nothing can.
        """
        lost: BaseGgufUnreadableError | None = None
        await asyncio.to_thread(self._disk.remove_unfinished)
        await self.state_store.load()
        try:
            await self._base.bring_up()
        except BaseGgufUnreadableError as error:
            lost = error
        for count, (name, entry) in enumerate(self.state_store.newest_first(), start=1):
            await self._bring_up(name, entry, load_now=count < self._slots.max_resident)
        if lost is not None and not self._slots.revisions():
            raise lost
        self.is_restored = True

    async def tick(self) -> float:
        """Do what is due.

        Returns:
            Seconds until something is due again.

        Raises:
            asyncio.CancelledError: A command came while the tick waited for the cloud or the canary; the next tick
                carries it out.
        """
        await self._obey_commands()
        if await self._base.look_for_base_gguf():
            self.state_store.retry_all()
        await self._repair()
        if self.poller is not None:
            if self.poller.due_in() <= 0:
                await self._unless_commanded(self.poller.poll())
            if self.poller.wanted is not None:
                await self._follow(self.poller.wanted)
        await self._collect()
        await self.state_store.write_again()
        poll_in = math.inf if self.poller is None else self.poller.due_in()
        return min(poll_in, self._base.due_in(), max(self.state_store.due_in(), _RETRY_CHECK_SECONDS), IDLE_SECONDS)

    def command(self, command: Command) -> "asyncio.Future[str]":
        """Let the next tick carry out a command first of all; a tick that waits for the cloud or the canary ends.

        Returns:
            What is so afterwards, for the owner; or the `EdgeError` that refuses the command.
        """
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._commands.append((command, done))
        self._commanded.set()
        return done

    async def merge_pending(self) -> int:
        """Quantize the base if that is due; then merge, one after another, what is due and may be merged.

        Returns:
            How often something was tried.
        """
        attempts = await self._base.quantize_pending()
        while not (self._base.is_stopping or self._base.model.problem):
            quantization = self._base.model.quantization
            name = self.state_store.next_to_merge(quantization, self.merge_policy, self._slots.uses())
            if name is None:
                break
            await self._merge(name)
            attempts += 1
        return attempts

    def stop(self) -> None:
        """End a merge in progress at its next step; its specialization goes on as an adapter."""
        self._installer.stop()

    async def _obey_commands(self) -> None:
        while self._commands:
            command, done = self._commands.popleft()
            try:
                outcome = await self._obey(command)
            except Exception as error:
                if not done.done():
                    done.set_exception(error)
            else:
                if not done.done():
                    done.set_result(outcome)
        self._commanded.clear()

    async def _obey(self, command: Command) -> str:
        with self._recorded(command.action, command.name):
            after = self.state_store.after(command)
            if command.action == "accept":
                await self.state_store.set_channel_version(None)
                if self.poller is not None:
                    self.poller.poll_now()
            elif command.action == "rollback":
                entry = after.entries[command.name]
                active = await self._serve_again(command.name, entry.active, load_now=True)
                await self.state_store.put(command.name, replace(entry, active=active))
            else:
                await self.state_store.note(command.name, after.entries[command.name])
        problem = f"; {self.state_store.problem}" if self.state_store.problem else ""
        return describe_outcome(command, after) + problem

    async def _unless_commanded(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, which loses nothing when it is cancelled.

        Raises:
            asyncio.CancelledError: A command came first.
        """
        working, commanded = asyncio.ensure_future(work), asyncio.ensure_future(self._commanded.wait())
        try:
            await asyncio.wait({working, commanded}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise asyncio.CancelledError
        finally:
            working.cancel()
            commanded.cancel()
            await asyncio.gather(working, commanded, return_exceptions=True)

    async def _follow(self, channel: Channel) -> None:
        await self.state_store.set_channel_version(channel.version)
        plan = self.state_store.plan(channel)
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
                verify_wanted(wanted, self._base.model.model_id, self._base.model.digest)
                bundle, source = await self._unless_commanded(self._artifacts.bundle(wanted))
                record(source=source)
            before = self.state_store.entry(name)
            with self._recorded("attach", name, wanted.bundle_id):
                if before and before.previous and before.previous.bundle_id == wanted.bundle_id:
                    installed = await self._serve_again(name, before.previous, load_now=True)
                else:
                    # The canary of a busy device takes minutes.
                    installed = await self._unless_commanded(
                        self._installer.attach(name, wanted.bundle_id, bundle, try_first=True)
                    )
        except Exception as error:
            await self.state_store.fail(name, wanted.bundle_id, error)
            return
        # Read again: while this waited, what serves may have been merged.
        before = self.state_store.entry(name)
        await self.state_store.put(name, Entry(installed, previous=before.active if before else None))

    async def _merge(self, name: str) -> None:
        bundle_id = self.state_store.entries[name].active.bundle_id

        def is_wanted() -> bool:
            return self.state_store.is_active(name, bundle_id)

        try:
            with self._recorded("merge", name, bundle_id) as record:
                merged = await self._use_merged(name, bundle_id, is_wanted) or await self._installer.merge(
                    name, bundle_id, await self._artifacts.stored(bundle_id), is_wanted
                )
                record(retained_delta=merged.merge.retained_delta if merged.merge else None)
        except MergeCancelledError:
            return
        except Exception as error:
            if is_wanted():
                await self._note_failed_merge(name, error)
            return
        if is_wanted():
            await self.state_store.put(name, replace(self.state_store.entries[name], active=merged))

    async def _note_failed_merge(self, name: str, error: Exception) -> None:
        entry = self.state_store.entries[name]
        refused = is_permanent(error)
        if entry.active.state == "adapter":
            message = f"{'stays' if refused else 'still'} a run-time adapter: {describe_error(error)}"
            entry = replace(entry, active=replace(entry.active, merge_refused=refused, message=message))
            if refused:
                await self.state_store.put(name, entry)
                return
            await self.state_store.note(name, entry)
        await self.state_store.fail(name, entry.active.bundle_id, error)

    async def _use_merged(self, name: str, bundle_id: str, is_wanted: Callable[[], bool]) -> Installed | None:
        """Serve the merged file that the same bundle has under another name; None when there is none that works.

        Raises:
            MergeCancelledError: `is_wanted` said no in the meantime.
        """
        for twin in self.state_store.merged(bundle_id, self._base.model.quantization):
            try:
                await self._installer.bring_up_merged(name, twin, True, is_wanted)
            except MergeCancelledError:
                raise
            except EdgeError:
                continue
            return twin
        return None

    async def _bring_up(self, name: str, entry: Entry, load_now: bool) -> None:
        try:
            # What the device died of when it was last brought up may end the canary instead.
            has_died = self._has_died("restore", name, entry.active.bundle_id)
            with self._recorded("restore", name, entry.active.bundle_id):
                active = await self._serve_again(name, entry.active, load_now, try_first=has_died)
        except Exception as error:
            if self.state_store.entry(name) != entry:
                # Merged meanwhile, and serving.
                return
            is_deadly = isinstance(error, (CanaryError, DeadlyAttemptError)) and entry.previous is not None
            if is_deadly or isinstance(error, (DigestMismatchError, ContractError)):
                await self._without_active(name, entry)
            else:
                # `_repair` tries a name again that has an entry and no slot, unless it failed for good.
                self._slots.remove(name)
                down = replace(entry.active, message=DOWN + describe_error(error))
                await self.state_store.note(name, replace(entry, active=down))
            await self.state_store.fail(name, entry.active.bundle_id, error)
            return
        if active != entry.active:
            await self.state_store.put(name, replace(entry, active=active))

    async def _without_active(self, name: str, entry: Entry) -> None:
        """What serves is lost on disk, and a pin with it: go on with what served before, when that is still there."""
        if entry.previous is None:
            self._slots.remove(name)
            await self.state_store.drop(name)
        else:
            before = Entry(entry.previous)
            await self.state_store.put(name, before)
            await self._bring_up(name, before, load_now=True)

    async def _serve_again(self, name: str, installed: Installed, load_now: bool, try_first: bool = False) -> Installed:
        """Serve what served before: its merged file when that still works, else its bundle as an adapter.

        Raises:
            IntegrityError, ContractError: Neither is what it was.
            EdgeError: It cannot be served now.
        """
        message = "" if installed.message.startswith(DOWN) else installed.message
        unusable: EdgeError | None = None
        if installed.state == "merged":
            try:
                await self._installer.bring_up_merged(name, installed, load_now, try_first=try_first)
                return replace(installed, message=message)
            except EdgeError as error:
                unusable = error
                _log.warning("merged_slot_unusable", name=name, reason=describe_error(error))
        try:
            bundle = await self._artifacts.stored(installed.bundle_id)
        except (DigestMismatchError, ContractError):
            if unusable is not None and await self._installer.is_merged_intact(installed):
                raise unusable from None
            raise
        attached = await self._installer.attach(
            name, installed.bundle_id, bundle, try_first=try_first, load_now=load_now
        )
        return replace(attached, merge_refused=installed.merge_refused, message=message)

    async def _repair(self) -> None:
        """Bring back what a request found broken on disk, and try again what could not be brought back before."""
        for revision in self._slots.take_broken():
            entry = self.state_store.entry(revision.name)
            if revision.name == BASE_NAME:
                with suppress(EdgeError):
                    await self._base.bring_up()
            elif entry is not None and entry.active.bundle_id == revision.bundle_id:
                await self._bring_up(revision.name, entry, load_now=True)
        for name, entry in self.state_store.entries.items():
            is_down = name not in self._slots.revisions()
            if is_down and self.state_store.may_try(name, entry.active.bundle_id):
                await self._bring_up(name, entry, load_now=True)

    async def _collect(self) -> None:
        wanted = None if self.poller is None else self.poller.wanted
        if self.state_store.is_lost and wanted is None:
            return
        needed = self._slots.paths_in_use() | {self._base.quantized}
        for entry in self.state_store.kept():
            needed |= self._disk.files_of(entry, self._base.model.quantization)
        banks: set[str] | None = None
        if wanted is not None:
            banks = {each.recipe.bank_digest for each in wanted.specializations if each.recipe is not None}
            needed |= {self._disk.bundle(each.bundle_id) for each in wanted.specializations}
        deleted = await asyncio.to_thread(self._disk.collect, needed, banks)
        if deleted:
            _log.info("files_collected", count=len(deleted))
