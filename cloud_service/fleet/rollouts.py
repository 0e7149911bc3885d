"""Rollouts: bring a channel's next version to some devices first, watch them, and go on or give it up.

`rollout` decides which devices see the candidate. A rollout is a part of its channel's row, so a rollout and a publish
can never make the same version twice. Every process knows the active rollouts, and looks at an interval for those that
other replicas changed. Polls of channels without a rollout cost nothing more.

At each look, a rollout whose candidate fails, or is slower, on too many devices is halted: the channel's old content
comes back as a version above the candidate's, which all devices follow.

Rollouts are looked at each by itself: one that is damaged in the store is logged, and the others go on. To look at
10,000 devices takes tenths of a second; a rollout that takes so long is looked at more seldom.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import structlog

from cloud_service.errors import CloudError, ConflictError, IntegrityError, NotFoundError, StoreUnavailableError
from cloud_service.fleet.channel_writer import (
    Change,
    Condition,
    always,
    content_of,
    encode,
    verify_condition,
    verify_free,
)
from cloud_service.fleet.channels import ChannelService, unknown, verify
from cloud_service.fleet.devices import DeviceService
from cloud_service.fleet.rollout import (
    Group,
    HaltRule,
    Rollout,
    State,
    encode_rollout,
    new_bundles,
    parse_rollout,
    verify_going_on,
)
from cloud_service.limits import MAX_ROLLOUT_GROUPS, MAX_SHOWN_LABELS_CHARS
from cloud_service.store import ChannelRow, ChannelStore, StoredEvent
from loragen.contract.channel import Specialization
from loragen.contract.digest import sha256_hex
from loragen.contract.polling import PollingDevice, format_labels
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)

_PAUSE = 10
"""A rollout is looked at again after so many times what the last look took, if that is longer than the pause below."""

_SHORTEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """What to bring to whom.

    Attributes:
        group: Who sees it first.
        halt: When it is given up.
        name: Of the specialization that gets another bundle; empty for a whole version.
        bundle_id: That bundle.
        version: The kept version whose content the channel gets, without a name.
        starts_at: In microseconds since 1970; 0 for now.
    """

    group: Group
    halt: HaltRule
    name: str = ""
    bundle_id: str = ""
    version: int = 0
    starts_at: int = 0


@dataclass(frozen=True, slots=True)
class ActiveRollout:
    """A rollout that goes on, as polls see it."""

    channel: str
    revision: int
    rollout: Rollout
    digest: str

    def is_for(self, device: PollingDevice) -> bool:
        """Whether a device that polls now sees the candidate."""
        return self.rollout.includes(self.channel, device, _now())


@dataclass(frozen=True, slots=True)
class RolloutProgress:
    """How far a rollout has come.

    Attributes:
        devices: Devices of the channel that are known.
        updated: Those that have its version or a newer one.
        failing: Those of them that could not put it to use.
        slower: Those of them that answer more slowly with it than before.
    """

    rollout: Rollout
    devices: int
    updated: int
    failing: int
    slower: int


class RolloutService:
    """Starts rollouts, changes them, and halts them.

    Args:
        channels: What is rolled out.
        store: Where channels live.
        devices: What they reported.
    """

    def __init__(self, channels: ChannelService, store: ChannelStore, devices: DeviceService) -> None:
        self._channels = channels
        self._store = store
        self._devices = devices
        self._candidates: Mapping[str, ActiveRollout] = {}
        self._changes = 0
        self._failed: dict[str, int] = {}
        self._rests: dict[str, float] = {}

    def find(self, channel: str) -> ActiveRollout | None:
        """The candidate of a channel; None when no rollout goes on."""
        return self._candidates.get(channel)

    async def start(self, channel: str, request: RolloutRequest, condition: Condition = always) -> RolloutProgress:
        """Start a rollout.

        Raises:
            InvalidRequestError: A name is not valid, or the channel is full.
            NotFoundError: The channel, the bundle or the version is not there.
            ConflictError: Another rollout goes on, or the channel has this content already.
            PreconditionError: The condition does not hold.
            StoreUnavailableError: The store does not answer.
        """
        about, content_from = await self._prepare(channel, request)

        def decide(row: ChannelRow) -> Change | None:
            if not row.document:
                raise unknown(channel)
            verify_free(channel, row)
            current = content_of(channel, row)
            verify_condition(channel, current, True, condition)
            content = content_from(current.channel.specializations)
            candidate = encode(channel, row.version + 1, content)
            rollout = Rollout(
                about=about,
                document=candidate.document,
                version=row.version + 1,
                bundles=new_bundles(current.channel, content),
                groups=(request.group,),
                halt=request.halt,
                starts_at=request.starts_at,
                created_at=_now(),
            )
            return _change(row, rollout, "rollout", f"{about}, {_describe(request.group)}")

        row = await self._channels.writer.change(channel, decide)
        return await self._answer(channel, row)

    async def widen(self, channel: str, version: int, group: Group) -> RolloutProgress:
        """Bring the candidate to more devices.

        Raises:
            NotFoundError: The channel has no such rollout.
            ConflictError: It has ended, or has too many groups.
            StoreUnavailableError: The store does not answer.
        """

        def decide(row: ChannelRow) -> Change | None:
            rollout = _rollout_of(channel, row, version)
            verify_going_on(rollout)
            widened = rollout.widened(group)
            if len(widened.groups) > MAX_ROLLOUT_GROUPS:
                raise ConflictError(
                    f"the rollout has {len(rollout.groups)} groups, the most allowed",
                    "widen one that it has, or promote it",
                    code="rollout_full",
                )
            return None if widened == rollout else _change(row, widened, "widen", _describe(group))

        return await self._answer(channel, await self._channels.writer.change(channel, decide))

    async def set_state(self, channel: str, version: int, state: State, reason: str = "") -> RolloutProgress:
        """Pause a rollout, resume it, promote it to all devices, or give it up. Doing it twice changes nothing.

        Raises:
            NotFoundError, ConflictError, StoreUnavailableError: As for `widen`.
        """

        def decide(row: ChannelRow) -> Change | None:
            rollout = _rollout_of(channel, row, version)
            if rollout.state == state:
                return None
            verify_going_on(rollout)
            if state == "promoted":
                changed = replace(row, version=rollout.version, document=rollout.document)
                return _change(changed, rollout.ended(state, reason), "promote", rollout.about)
            if state in ("aborted", "halted"):
                again = encode(channel, rollout.version + 1, content_of(channel, row).channel.specializations)
                changed = replace(row, version=rollout.version + 1, document=again.document)
                return _change(changed, rollout.ended(state, reason), "abort" if state == "aborted" else "halt", reason)
            action = "pause" if state == "paused" else "resume"
            return _change(row, replace(rollout, state=state), action, rollout.about)

        row = await self._channels.writer.change(channel, decide)
        return await self._answer(channel, row)

    async def load(self, channel: str) -> RolloutProgress | None:
        """The last rollout of a channel; None when there was none.

        Raises:
            InvalidRequestError: The name is not valid.
            NotFoundError: The channel does not exist.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        row = await self._store.load_row(channel)
        if not row.document:
            raise unknown(channel)
        return await self._progress(channel, parse_rollout(row.rollout)) if row.rollout else None

    async def refresh(self) -> None:
        """Learn of rollouts that other replicas started, changed or ended.

        Raises:
            StoreUnavailableError: The store does not answer; what was known stays.
        """
        candidates, changes = {}, self._changes
        rolling = await self._store.list_rolling()
        self._failed = {channel: revision for channel, revision in self._failed.items() if channel in rolling}
        for channel, revision in rolling.items():
            known = self._candidates.get(channel)
            if known is None or known.revision < revision:
                known = await self._read(channel, revision)
            if known is not None:
                candidates[channel] = known
        if changes == self._changes:  # else what was read may be older than what this process changed meanwhile
            self._candidates = candidates

    async def look(self) -> None:
        """Refresh, then halt the rollouts on whose devices the candidate does badly.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        await self.refresh()
        self._rests = {channel: until for channel, until in self._rests.items() if channel in self._candidates}
        for channel, candidate in self._candidates.items():
            started = time.monotonic()
            if started < self._rests.get(channel, 0.0):
                continue
            try:
                await self._judge(channel, candidate.rollout)
                now = time.monotonic()
                self._rests[channel] = now + _PAUSE * (now - started) - _SHORTEST_PAUSE_SECONDS
            except (ConflictError, NotFoundError):
                pass  # somebody else ended it
            except StoreUnavailableError:
                raise
            except Exception as e:
                self._note_failure(channel, candidate.revision, e)

    async def _judge(self, channel: str, rollout: Rollout) -> None:
        count = await self._devices.count_with(channel, rollout.version, rollout.bundles)
        if reason := rollout.halt.reason(count.devices, count.failing, count.slower):
            _log.warning("rollout_halted", channel=channel, version=rollout.version, reason=reason)
            await self.set_state(channel, rollout.version, "halted", reason)

    async def _read(self, channel: str, revision: int) -> ActiveRollout | None:
        """The candidate of a channel that this process did not know yet; None when its rollout is damaged."""
        if self._failed.get(channel) == revision:
            return None
        row = await self._store.load_row(channel)
        try:
            return _candidate(channel, row)
        except IntegrityError as e:
            self._note_failure(channel, revision, e)
            return None

    def _note_failure(self, channel: str, revision: int, error: Exception) -> None:
        # Once, and not at every look.
        if self._failed.get(channel) != revision:
            self._failed[channel] = revision
            reason = {"reason": str(error)} if isinstance(error, CloudError) else {"crash": describe_crash(error)}
            _log.error("rollout_failed", channel=channel, **reason)

    async def _prepare(
        self, channel: str, request: RolloutRequest
    ) -> tuple[str, Callable[[tuple[Specialization, ...]], tuple[Specialization, ...]]]:
        if request.name:
            entry = await self._channels.pin(channel, request.name, request.bundle_id)
            return f"{request.name} is {entry.bundle_id}", lambda content: _with_entry(content, entry)
        kept = (await self._channels.load_version(channel, request.version)).channel.specializations
        for each in kept:
            await self._channels.pin(channel, each.name, each.bundle_id)
        return f"content of version {request.version}", lambda content: kept

    async def _answer(self, channel: str, row: ChannelRow) -> RolloutProgress:
        # This process sees at once what it changed; the others see it at their next look.
        others = {name: candidate for name, candidate in self._candidates.items() if name != channel}
        candidate = _candidate(channel, row)
        self._changes += 1
        self._candidates = others if candidate is None else others | {channel: candidate}
        return await self._progress(channel, parse_rollout(row.rollout))

    async def _progress(self, channel: str, rollout: Rollout) -> RolloutProgress:
        devices = (await self._devices.count(channel)).devices
        count = await self._devices.count_with(channel, rollout.version, rollout.bundles)
        return RolloutProgress(rollout, devices, count.devices, count.failing, count.slower)


def _candidate(channel: str, row: ChannelRow) -> ActiveRollout | None:
    if not row.rolling:
        return None
    rollout = parse_rollout(row.rollout)
    return ActiveRollout(channel, row.revision, rollout, sha256_hex(rollout.document))


def _rollout_of(channel: str, row: ChannelRow, version: int) -> Rollout:
    rollout = parse_rollout(row.rollout) if row.rollout else None
    if rollout is None or rollout.version != version:
        raise NotFoundError(
            f"channel {channel!r} has no rollout of version {version}", "list its rollouts", code="rollout_not_found"
        )
    return rollout


def _change(row: ChannelRow, rollout: Rollout, action: str, detail: str) -> Change:
    changed = replace(row, rollout=encode_rollout(rollout), rolling=rollout.goes_on)
    version = rollout.version if row.version < rollout.version else row.version
    return Change(changed, StoredEvent(action, detail, version))


def _with_entry(content: tuple[Specialization, ...], entry: Specialization) -> tuple[Specialization, ...]:
    others = (each for each in content if each.name != entry.name)
    return tuple(sorted((*others, entry), key=lambda each: each.name))


def _describe(group: Group) -> str:
    labels = format_labels(group.labels)
    if len(labels) > MAX_SHOWN_LABELS_CHARS:
        labels = f"{labels[:MAX_SHOWN_LABELS_CHARS]}... ({len(group.labels)} labels)"
    return f"{group.percent:g} % of {f'devices with {labels}' if labels else 'all devices'}"


def _now() -> int:
    return time.time_ns() // 1_000
