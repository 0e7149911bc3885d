"""Devices: their reports are stored, found by what they say, counted, and forgotten.

Only reports about a channel that somebody published to are stored, be it deleted since: else the key of a device could
fill the store with channels that it made up.

A listing looks at a bounded number of devices for each page, so that one that finds little costs no more than any.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from cloud_service.access.audit import Audit
from cloud_service.access.caller import current_caller, verify_channel
from cloud_service.errors import InvalidRequestError, NotFoundError, UsageLimitError
from cloud_service.fleet.channels import unknown, verify
from cloud_service.limits import COUNTED_REPORT_BYTES, MAX_DEVICES_SCANNED, MAX_REPORT_BYTES, STORAGE_AGAIN_SECONDS
from cloud_service.store import ChannelStore, DeviceEntry, DeviceStore
from cloud_service.store.access import Share
from loragen.contract.names import verify_device_name

_CHUNK = 1_000

_MOST_REMEMBERED = 10_000
"""Channels that are known to be there, or to have been. One that is forgotten meanwhile gets some reports too many."""


@dataclass(frozen=True, slots=True)
class DeviceFilter:
    """Which devices are looked for.

    Attributes:
        channel: That they follow; None for all.
        labels: That they have.
        failing: Whether a bundle failed on them; None for both.
        seen_after: Only those whose last report came after this time, in microseconds since 1970.
        seen_before: Only those whose last report came before it.
    """

    channel: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    failing: bool | None = None
    seen_after: int = 0
    seen_before: int | None = None

    def has(self, entry: DeviceEntry) -> bool:
        """Whether a device has these labels and failures. The store selects by channel and time."""
        return self.failing in (None, bool(entry.failed)) and self.labels.items() <= entry.labels.items()


@dataclass(frozen=True, slots=True)
class FoundDevice:
    """A device with its report."""

    entry: DeviceEntry
    report: bytes


@dataclass(frozen=True, slots=True)
class DevicePage:
    """Devices, the most recent report first.

    Attributes:
        next_before: What `seen_before` has to be for the next page; None on the last one.
    """

    devices: tuple[FoundDevice, ...]
    next_before: int | None


@dataclass(frozen=True, slots=True)
class DeviceCount:
    """How many devices of a channel are known.

    Attributes:
        versions: By the version that they have.
        failing: Those on which a bundle failed.
    """

    devices: int
    failing: int
    versions: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class CandidateCount:
    """How many devices have a candidate.

    Attributes:
        failing: Those on which one of its bundles failed.
        slower: Those on which one of its bundles is slower than what was there before.
    """

    devices: int
    failing: int
    slower: int


class DeviceService:
    """What devices reported.

    Args:
        store: Where it is kept.
        channels: Which channels there are.
        audit: Hears of each device that somebody has forgotten.
    """

    def __init__(self, store: DeviceStore, channels: ChannelStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit
        self._channels = channels
        self._known: set[str] = set()

    async def report(self, entry: DeviceEntry, report: bytes) -> None:
        """Store the report of a device.

        Raises:
            InvalidRequestError: The name of the channel or of the device is not valid, or the report is too long.
            UsageLimitError: It is a new device, or has a longer report, of a tenant that has as many as it may have.
            NotFoundError: Nothing was ever published to the channel.
            StoreUnavailableError: The store does not answer.
        """
        verify(entry.channel)
        verify(entry.device_id, verify_device_name)
        if len(report) > MAX_REPORT_BYTES:
            raise InvalidRequestError(
                f"expected a report of at most {MAX_REPORT_BYTES} bytes as JSON, found {len(report)}",
                "report fewer specializations, or shorter messages",
                code="report_too_large",
            )
        await self._verify_published(entry.channel)
        if not await self._store.store(entry, report, current_caller().tenant):
            share = await self.share()
            raise UsageLimitError(
                f"expected at most {share and share.most} devices of one tenant, found one more; one counts once for "
                f"each {COUNTED_REPORT_BYTES} bytes of its report",
                "delete some, wait until silent ones leave, or let the operator raise LORAGEN_CLOUD_DEVICES_PER_TENANT",
                code="too_many_devices",
                retry_after_seconds=STORAGE_AGAIN_SECONDS,
            )

    async def share(self) -> Share | None:
        """How many devices the caller's tenant has; None for the operator.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        tenant = current_caller().tenant
        return await self._store.share(tenant) if tenant else None

    async def find(self, wanted: DeviceFilter, limit: int) -> DevicePage:
        """A page of the caller's devices. It may have fewer than `limit` of them, or none, and still not be the last.

        Raises:
            InvalidRequestError: The name of the channel is not valid.
            NotFoundError: The channel is another tenant's.
            StoreUnavailableError: The store does not answer.
        """
        if wanted.channel is not None:
            verify(wanted.channel)
            verify_channel(wanted.channel)
        tenant = current_caller().tenant
        found: list[DeviceEntry] = []
        looked_at, next_before = 0, wanted.seen_before
        async for entry in self._scan(wanted.channel, wanted.seen_before, MAX_DEVICES_SCANNED, tenant):
            if entry.seen_at <= wanted.seen_after:
                break
            looked_at, next_before = looked_at + 1, entry.seen_at
            if wanted.has(entry):
                found.append(entry)
                if len(found) == limit:
                    return DevicePage(await self._with_reports(found), next_before)
        is_last = looked_at < MAX_DEVICES_SCANNED
        return DevicePage(await self._with_reports(found), None if is_last else next_before)

    async def count(self, channel: str) -> DeviceCount:
        """The devices of a channel that the store knows.

        Raises:
            InvalidRequestError: The name is not valid.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        versions: Counter[int] = Counter()
        failing = 0
        async for entry in self.entries(channel):
            versions[entry.version] += 1
            failing += bool(entry.failed)
        return DeviceCount(versions.total(), failing, dict(sorted(versions.items())))

    async def count_with(self, channel: str, version: int, bundles: tuple[str, ...]) -> CandidateCount:
        """How many devices have a version or a newer one, and how many of them do badly with one of these bundles.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        devices = failing = slower = 0
        new = set(bundles)
        async for entry in self.entries(channel):
            if entry.version >= version:
                devices += 1
                failing += not new.isdisjoint(entry.failed)
                slower += not new.isdisjoint(entry.slower)
        return CandidateCount(devices, failing, slower)

    def entries(self, channel: str) -> AsyncIterator[DeviceEntry]:
        """The devices of a channel that the store knows.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        return self._scan(channel, None, MAX_DEVICES_SCANNED)

    async def delete(self, channel: str, device_id: str) -> None:
        """Forget a device; it is listed again with its next report.

        Raises:
            InvalidRequestError: A name is not valid.
            NotFoundError: It is not known.
            StoreUnavailableError: The store does not answer.
        """
        verify(channel)
        verify(device_id, verify_device_name)
        if not await self._store.delete(channel, device_id):
            raise NotFoundError(f"no device {device_id!r} follows channel {channel!r}", code="device_not_found")
        await self._audit.record("device.delete", channel=channel, device=device_id)

    async def _verify_published(self, channel: str) -> None:
        if channel in self._known:
            return
        # The row, which is long, is read only where there is no channel: it may be deleted.
        if await self._channels.load_version(channel) is None:
            row = await self._channels.load_row(channel)
            if row.revision == 0:
                raise unknown(channel)
        if len(self._known) < _MOST_REMEMBERED:
            self._known.add(channel)

    async def _scan(
        self, channel: str | None, before: int | None, most: int, tenant: str = ""
    ) -> AsyncIterator[DeviceEntry]:
        while most > 0:
            entries = await self._store.scan(channel, min(most, _CHUNK), before, tenant)
            for entry in entries:
                yield entry
            if len(entries) < _CHUNK:
                return
            most, before = most - len(entries), entries[-1].seen_at

    async def _with_reports(self, entries: list[DeviceEntry]) -> tuple[FoundDevice, ...]:
        reports = await self._store.load_reports(entries)
        return tuple(FoundDevice(entry, report) for entry, report in zip(entries, reports, strict=True))
