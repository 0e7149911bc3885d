"""The state store: what the device knows of its specializations now, and when it tries again what failed.

Rules: the newest state is written to disk after each change, one write at a time and off the event loop. A disk that
refuses it stops nothing and is reported; the next tick writes again. A name that failed waits longer after each
failure. What changes and why is decided by callers.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from edge_runtime.clock import Clock
from edge_runtime.cloud.pacing import backoff_delay
from edge_runtime.errors import describe_error, error_code
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge_policy import MergePolicy
from edge_runtime.serving.use import Use
from edge_runtime.updates.merge_choice import choose_merge, needs_merge
from edge_runtime.updates.rules import Plan, is_permanent, plan_changes, state_after
from edge_runtime.updates.state import Command, DeviceState, Entry, Failure, Installed, StateFile
from loragen.contract.channel import Channel

_log = structlog.get_logger(__name__)


class StateStore:
    """The state of one device.

    Args:
        file: Where it is written.
        empty: What a device starts with that has no usable state.
        clock: For the times of retries.
        first_retry_seconds: Wait after the first failure of a name.
        draw: Uniform in [0, 1).

    Attributes:
        state: What is known.
        problem: What is wrong with the file; empty when nothing is.
        is_lost: There was a state, but none can be read: it is unknown which files on disk are needed.
    """

    def __init__(
        self,
        file: StateFile,
        empty: DeviceState,
        clock: Clock,
        first_retry_seconds: float,
        draw: Callable[[], float],
    ) -> None:
        self.state = empty
        self.problem = ""
        self.is_lost = False
        self._file = file
        self._clock = clock
        self._first_retry_seconds = first_retry_seconds
        self._draw = draw
        self._retry_at: dict[str, float] = {}
        self._writing = asyncio.Lock()
        self._on_disk = empty
        self._is_written = True

    async def load(self) -> None:
        """Read the state of this edge model from disk.

        Refusals are forgotten: the settings, the base GGUF or the program may have changed.
        """
        found, self.problem = await asyncio.to_thread(self._file.load_of, self.state.edge_model_digest)
        if self.problem:
            _log.warning("state_repaired", reason=self.problem)
        if found is None:
            self.is_lost = await asyncio.to_thread(self._file.has_remains)
            return
        self._on_disk = found
        # After a change of the channel, what serves goes on serving until the new channel has been fetched.
        version = found.channel_version if found.channel == self.state.channel else None
        self.state = replace(
            found,
            channel=self.state.channel,
            channel_version=version,
            entries={name: _without_refusal(entry) for name, entry in found.entries.items()},
            failures={name: failure for name, failure in found.failures.items() if not failure.permanent},
        )

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What serves, by name."""
        return self.state.entries

    def entry(self, name: str) -> Entry | None:
        """What serves under `name`."""
        return self.state.entries.get(name)

    def kept(self) -> Sequence[Entry]:
        """What serves now, and what would serve after a restart: another while the disk refuses the newest state."""
        return [*self.entries.values(), *self._on_disk.entries.values()]

    def newest_first(self) -> Sequence[tuple[str, Entry]]:
        """Names and entries, the one that was activated last at the front."""
        return sorted(self.entries.items(), key=lambda item: item[1].active.activated_at, reverse=True)

    def is_active(self, name: str, bundle_id: str) -> bool:
        """Whether this bundle serves under `name`."""
        entry = self.entry(name)
        return entry is not None and entry.active.bundle_id == bundle_id

    def plan(self, channel: Channel) -> Plan:
        """What has to change so that the device serves what `channel` lists."""
        return plan_changes(channel, self.state)

    def after(self, command: Command) -> DeviceState:
        """The state once a command is carried out.

        Raises:
            UpdateError: It cannot be carried out.
        """
        return state_after(command, self.state)

    def next_to_merge(self, quantization: Quantization, policy: MergePolicy, uses: Mapping[str, Use]) -> str | None:
        """A name whose bundle is to be merged now; None when there is none.

        Args:
            quantization: Type of the merged models.
            policy: Which are merged.
            uses: What requests had each name do so far.
        """
        due = [name for name, entry in self.entries.items() if self.may_try(name, entry.active.bundle_id)]
        return choose_merge(self.entries, due, quantization, policy, uses)

    def merged(self, bundle_id: str, quantization: Quantization) -> Sequence[Installed]:
        """Where this bundle serves merged, of this quantization."""
        active = [entry.active for entry in self.entries.values() if entry.active.bundle_id == bundle_id]
        return [each for each in active if each.state == "merged" and not needs_merge(each, quantization)]

    async def put(self, name: str, entry: Entry) -> None:
        """Remember what serves under `name`. A failure of that bundle is over; a failure of another bundle stays."""
        state = self.state.with_entry(name, entry)
        failure = state.failures.get(name)
        if failure is not None and failure.bundle_id == entry.active.bundle_id:
            self._retry_at.pop(name, None)
            state = state.with_failure(name, None)
        await self._change(state)

    async def note(self, name: str, entry: Entry) -> None:
        """Remember more about what serves under `name`. Failures stay."""
        await self._change(self.state.with_entry(name, entry))

    async def drop(self, name: str) -> None:
        """Forget `name`."""
        self._retry_at.pop(name, None)
        await self._change(self.state.with_entry(name, None).with_failure(name, None))

    async def forget_failure(self, name: str) -> None:
        """Forget a failure that no longer concerns anything."""
        self._retry_at.pop(name, None)
        await self._change(self.state.with_failure(name, None))

    async def fail(self, name: str, bundle_id: str, error: Exception) -> None:
        """Remember why a bundle does not serve, and when to try again, unless the same bytes would fail again."""
        before = self.state.failures.get(name)
        attempts = before.attempts + 1 if before is not None and before.bundle_id == bundle_id else 1
        permanent = is_permanent(error, attempts)
        if permanent:
            self._retry_at.pop(name, None)
        else:
            delay = backoff_delay(self._first_retry_seconds, attempts, self._draw())
            self._retry_at[name] = self._clock.monotonic() + delay
        failure = Failure(bundle_id, error_code(error), describe_error(error), attempts, permanent)
        await self._change(self.state.with_failure(name, failure))

    async def set_channel_version(self, version: int | None) -> None:
        """Remember the newest version of the channel; None takes any."""
        if version != self.state.channel_version:
            await self._change(replace(self.state, channel_version=version))

    def may_try(self, name: str, bundle_id: str) -> bool:
        """Whether an attempt with this bundle is due, and has not failed for good."""
        failure = self.state.failures.get(name)
        has_failed = failure is not None and failure.permanent and failure.bundle_id == bundle_id
        return not has_failed and self.is_due(name)

    def is_due(self, name: str) -> bool:
        """Whether `name` is not waiting for its next attempt."""
        return self._retry_at.get(name, -math.inf) <= self._clock.monotonic()

    def retry_all(self) -> None:
        """Wait no longer for anything: what many attempts failed of is over."""
        self._retry_at.clear()

    def due_in(self) -> float:
        """Seconds until the next attempt; infinite when none is waited for."""
        return max(0.0, min(self._retry_at.values(), default=math.inf) - self._clock.monotonic())

    async def write_again(self) -> None:
        """Write the state that the disk refused before, if it did."""
        if not self._is_written:
            await self._write()

    async def _change(self, state: DeviceState) -> None:
        if state != self.state:
            self.state = state
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            try:
                # The newest state: it includes what changed while this waited for the lock.
                state = self.state
                await asyncio.to_thread(self._file.store, state)
                self.problem, self._is_written, self._on_disk = "", True, state
            except OSError as error:
                self._is_written = False
                self.problem = f"the state cannot be written: {error.strerror or error}"
                _log.warning("state_not_written", reason=self.problem)


def _without_refusal(entry: Entry) -> Entry:
    previous = None if entry.previous is None else replace(entry.previous, merge_refused=False)
    return replace(entry, active=replace(entry.active, merge_refused=False), previous=previous)
