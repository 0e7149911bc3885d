"""Writes channels: a compare-and-swap of the whole row, repeated when another writer was faster.

So concurrent writers lose nothing. Each write leaves an event, and those who watch the channel hear of a new version.
What is written is decided by `channels` and `rollouts`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from cloud_service.access.audit import Audit
from cloud_service.access.caller import current_caller
from cloud_service.errors import ConflictError, IntegrityError, InvalidRequestError, PreconditionError
from cloud_service.fleet.watching import ChannelWatch
from cloud_service.store import ChannelRow, ChannelStore, StoredEvent
from loragen.contract.channel import Channel, Specialization, encode_channel, parse_channel
from loragen.contract.digest import sha256_hex
from loragen.contract.errors import ContractError

_log = structlog.get_logger(__name__)

_MAX_ATTEMPTS = 20
"""Writers of this process take turns, so only writers of other replicas can be faster."""

Condition = Callable[[str, bool], bool]
"""Decides whether a change may be made, from the channel's digest and whether the channel has the name to change."""


def always(digest: str, exists: bool) -> bool:
    """The condition that allows every change."""
    return True


@dataclass(frozen=True, slots=True)
class PublishedChannel:
    """A channel and its bytes.

    Attributes:
        channel: The parsed document.
        document: Its bytes, as devices read them.
        digest: sha256 of the bytes, its entity tag.
    """

    channel: Channel
    document: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a writer wants: the row, whose revision the writer sees to, and what is said of it."""

    row: ChannelRow
    event: StoredEvent


class ChannelWriter:
    """Writes the channels of a store, one at a time.

    Args:
        store: Where channels live.
        watch: Hears of new versions.
        changed: Called with the action of each change.
        audit: Remembers each change, and who made it.
    """

    def __init__(self, store: ChannelStore, watch: ChannelWatch, changed: Callable[[str], None], audit: Audit) -> None:
        self._audit = audit
        self._store = store
        self._watch = watch
        self._changed = changed
        self._turn = asyncio.Lock()
        self._writing: set[asyncio.Task[bool]] = set()

    async def change(
        self,
        name: str,
        decide: Callable[[ChannelRow], Change | None],
        verify_new: Callable[[str], Awaitable[None]] | None = None,
    ) -> ChannelRow:
        """Change a channel.

        Args:
            name: Of the channel.
            decide: What is to be written, given the row as it is; None for nothing. May be asked several times.
            verify_new: Raises the error for a channel that would be one too many; the store then refuses to write it.

        Returns:
            The row as it is afterwards.

        Raises:
            ConflictError: Other writers were always faster.
            StoreUnavailableError: The store does not answer.
            CloudError: What `decide` or `verify_new` raises.
        """
        async with self._turn:
            for attempt in range(_MAX_ATTEMPTS):
                current = await self._store.load_row(name)
                change = decide(current)
                if change is None:
                    return current
                if verify_new is not None and not current.document:
                    await verify_new(name)
                row = replace(change.row, revision=current.revision + 1)
                # A client that hangs up must leave no change of which nobody hears.
                writing = asyncio.create_task(self._write(name, current, row, change.event))
                self._writing.add(writing)
                writing.add_done_callback(self._writing.discard)
                if await asyncio.shield(writing):
                    return row
                await asyncio.sleep(random.uniform(0, 0.005 * 2 ** min(attempt, 5)))
        raise ConflictError(f"channel {name!r} changed {_MAX_ATTEMPTS} times while this change was tried", "try again")

    async def _write(self, name: str, current: ChannelRow, row: ChannelRow, event: StoredEvent) -> bool:
        """Write a row, tell those who watch, and note it; False when the store did not take it."""
        if not await self._store.write(name, row, event, current_caller().tenant):
            return False
        _log.info("channel_changed", channel=name, action=event.action, version=event.version)
        self._changed(event.action)
        if row.document and row.version != current.version:
            self._watch.announce(name, row.version)
        await self._audit.record(f"channel.{event.action}", channel=name, detail=event.detail, version=event.version)
        return True


def published(document: bytes) -> PublishedChannel:
    """A stored document.

    Raises:
        IntegrityError: It is damaged.
    """
    try:
        return PublishedChannel(parse_channel(document), document, sha256_hex(document))
    except ContractError as e:
        raise IntegrityError(f"a stored channel is damaged: {e}", "restore the store from a backup") from e


def content_of(name: str, row: ChannelRow) -> PublishedChannel:
    """The channel of a row; one without content when it was never written, or was deleted."""
    return published(row.document) if row.document else PublishedChannel(Channel(name, row.version, ()), b"", "")


def encode(name: str, version: int, specializations: tuple[Specialization, ...]) -> PublishedChannel:
    """A new document.

    Raises:
        InvalidRequestError: The channel is full.
    """
    try:
        channel = Channel(name, version, specializations)
    except ContractError as e:
        raise InvalidRequestError(
            f"channel {name!r} is full: {e}", "withdraw what no device needs", code="channel_full"
        ) from e
    document = encode_channel(channel)
    return PublishedChannel(channel, document, sha256_hex(document))


def verify_condition(name: str, current: PublishedChannel, exists: bool, condition: Condition) -> None:
    """Return when a change may be made.

    Raises:
        PreconditionError: The condition does not hold.
    """
    if not condition(current.digest, exists):
        found = f"digest {current.digest}" if current.digest else "none of this name"
        raise PreconditionError(
            f"expected channel {name!r} as the request names it, found {found}", "read the channel again"
        )


def verify_free(name: str, row: ChannelRow) -> None:
    """Return when no rollout of the channel goes on.

    Raises:
        ConflictError: One does.
    """
    if row.rolling:
        raise ConflictError(
            f"a rollout of channel {name!r} goes on",
            "promote or abort it, then change the channel",
            code="rollout_goes_on",
        )
