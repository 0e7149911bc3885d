"""The ports `ChannelStore` and `DeviceStore`: channels with what became of them, and what devices reported.

Every adapter keeps these rules, and the contract test proves them for each:
- A channel changes by compare-and-swap on its revision, so concurrent writers lose nothing. A revision and a version
  are not used twice: a channel that was deleted goes on where it ended, because devices refuse one that goes back. Only
  when it is forgotten does it begin anew: after a time, or because its tenant deleted too many others since.
- A version is stored in the same step as the change that makes it, and so is the event. The oldest of both make room.
- A device that went silent leaves the listing by itself.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cloud_service.limits import COUNTED_REPORT_BYTES
from cloud_service.store.access import Share


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel as it is stored.

    Attributes:
        revision: Grows by one with each write; 0 for a channel that was never written.
        version: Of the document.
        document: Empty for a channel that was deleted or never written.
        rollout: The last rollout (`cloud_service.fleet.rollout`); empty without one.
        rolling: Whether that rollout goes on.
    """

    revision: int = 0
    version: int = 0
    document: bytes = b""
    rollout: bytes = b""
    rolling: bool = False


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What was done to a channel.

    Attributes:
        action: One word, such as `publish`.
        detail: The rest of the sentence, for people.
        version: Of the channel afterwards.
        at: When it was stored, in microseconds since 1970; the store sets it.
    """

    action: str
    detail: str
    version: int
    at: int = 0


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version that is kept; `event` made it."""

    version: int
    digest: str
    event: StoredEvent


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """A channel without its document; `changed_at` is in microseconds since 1970."""

    name: str
    version: int
    digest: str
    changed_at: int
    rolling: bool


class ChannelStore(Protocol):
    """Channels, their versions and events."""

    async def load(self, name: str) -> bytes | None:
        """The document; None when nothing was ever published there, or the channel was deleted."""
        ...

    async def load_digest(self, name: str) -> str | None:
        """Only the sha256 of the document."""
        ...

    async def load_version(self, name: str) -> int | None:
        """Only the version."""
        ...

    async def load_row(self, name: str) -> ChannelRow:
        """Everything that `write` needs."""
        ...

    async def write(self, name: str, row: ChannelRow, event: StoredEvent, tenant: str = "") -> bool:
        """Write the row if the channel is still at the revision before it; False when it is not.

        A document with a new version is kept as that version. An empty one deletes the versions. The oldest of the
        channel make room, of too many, and when all versions of its tenant's channels take too many bytes. So do its
        oldest events, when there are too many of them, or of its tenant; its last one stays.
        False, too, when the channel would be one more of the tenant than it may have. Of the channels that a tenant
        deleted, as many are known, and those that were deleted longest ago are forgotten.
        """
        ...

    async def share(self, tenant: str) -> Share:
        """The channels of a tenant: those whose names begin with its own and a dot."""
        ...

    async def list_channels(self, limit: int, after: str = "") -> list[ChannelEntry]:
        """Channels by name, those behind `after`."""
        ...

    async def list_rolling(self) -> Mapping[str, int]:
        """The revision of each channel with a rollout that goes on."""
        ...

    async def list_versions(self, name: str) -> list[StoredVersion]:
        """The versions that are kept, the newest first."""
        ...

    async def load_kept(self, name: str, version: int) -> bytes | None:
        """The document of a version; None when it is not kept."""
        ...

    async def list_events(self, name: str) -> list[StoredEvent]:
        """The events that are kept, the newest first."""
        ...

    async def list_deleted(self, before: int) -> list[str]:
        """Channels that were deleted before a time, in microseconds since 1970, and are not forgotten."""
        ...

    async def forget(self, name: str, before: int) -> bool:
        """Take away all that is left of a channel, if it was deleted before a time; False when it was not."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """What a device said last, in short.

    Attributes:
        version: Of the channel, as the device saw it last.
        failed: Ids of the bundles that it could not put to use.
        labels: What its owner says of it.
        slower: Ids of the bundles that answer more slowly than what was under their names before.
        seen_at: When the report came, in microseconds since 1970; the store sets it.
    """

    channel: str
    device_id: str
    version: int
    failed: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    slower: tuple[str, ...] = ()
    seen_at: int = 0


def places(report: bytes) -> int:
    """How many times a device with such a report counts."""
    return max(1, math.ceil(len(report) / COUNTED_REPORT_BYTES))


class DeviceStore(Protocol):
    """The last report of each device."""

    async def store(self, entry: DeviceEntry, report: bytes, tenant: str = "") -> bool:
        """Replace the device's last report; False when its tenant may have no other device, or no longer report."""
        ...

    async def share(self, tenant: str) -> Share:
        """The devices of a tenant's channels; one with a long report counts several times (`places`)."""
        ...

    async def scan(
        self, channel: str | None, limit: int, before: int | None = None, tenant: str = ""
    ) -> list[DeviceEntry]:
        """Entries of a channel or of all, the most recent first; of those seen `before` a time, if given.

        Of all channels those of one tenant, if given.
        """
        ...

    async def load_reports(self, entries: Sequence[DeviceEntry]) -> list[bytes]:
        """The report of each; empty when it is gone."""
        ...

    async def delete(self, channel: str, device_id: str) -> bool:
        """Forget a device; False when it was not known."""
        ...


class PinStore(Protocol):
    """Recipes and imported bundles that are stored for ever, because a channel names them."""

    async def list_pinned(self, before: int) -> list[str]:
        """Bundles that were pinned last before a time, in microseconds since 1970."""
        ...

    async def unpin(self, bundle_id: str, before: int) -> None:
        """Let a bundle expire like one that was never published, unless it was pinned since."""
        ...
