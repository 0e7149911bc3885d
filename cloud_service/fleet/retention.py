"""Retention: recipes and imported bundles that no channel names any more expire, and deleted channels are forgotten.

A bundle stays pinned as long as a channel, one of its kept versions or a rollout names it. A bundle is pinned before a
channel names it, and one that was pinned within `_GRACE_SECONDS` is left alone, so a sweep during a publish is safe.

Of a deleted channel its last version and its events stay, because devices take a channel that begins anew for one that
went back. They stay for a time that the operator sets, and while a device that follows it is listed. What was done to
it is in the audit log, which has a time of its own.
"""

import time

import structlog

from cloud_service.fleet.channel_writer import published
from cloud_service.fleet.rollout import parse_rollout
from cloud_service.store import ChannelRow, ChannelStore, Store
from loragen.contract.channel import Specialization

_log = structlog.get_logger(__name__)

_GRACE_SECONDS = 3600
"""A bundle is pinned some seconds before the channel that names it is written; this is far longer."""

_PAGE = 500


async def sweep(store: Store, grace_seconds: float = _GRACE_SECONDS) -> int:
    """Unpin the bundles that no channel names.

    Returns:
        How many were unpinned.

    Raises:
        StoreUnavailableError: The store does not answer.
        IntegrityError: A channel is damaged; then nothing is unpinned.
    """
    before = time.time_ns() // 1_000 - round(grace_seconds * 1e6)
    pinned = await store.list_pinned(before)
    if not pinned:
        return 0
    named = await _named(store)
    lost = [bundle_id for bundle_id in pinned if bundle_id not in named]
    for bundle_id in lost:
        await store.unpin(bundle_id, before)
    _log.info("retention_swept", pinned=len(pinned), unpinned=len(lost))
    return len(lost)


async def forget_deleted(store: Store, kept_seconds: float) -> int:
    """Forget channels that were deleted so long ago, and that no device follows any more; 0 keeps them for ever.

    Returns:
        How many were forgotten.

    Raises:
        StoreUnavailableError: The store does not answer.
    """
    if not kept_seconds:
        return 0
    before, forgotten = time.time_ns() // 1_000 - round(kept_seconds * 1e6), 0
    for name in await store.channels.list_deleted(before):
        if not await store.devices.scan(name, 1):
            forgotten += await store.channels.forget(name, before)
    if forgotten:
        _log.info("channels_forgotten", channels=forgotten)
    return forgotten


async def _named(store: Store) -> set[str]:
    """Every bundle that a channel, a kept version or a rollout names."""
    named: set[str] = set()
    after = ""
    while listed := await store.channels.list_channels(_PAGE, after):
        for each in listed:
            named.update(entry.bundle_id for entry in await list_named(store.channels, each.name))
        after = listed[-1].name
    return named


async def list_named(channels: ChannelStore, name: str) -> list[Specialization]:
    """All that a channel, its kept versions and its rollout name.

    A version that appears meanwhile may be missed: it names only bundles that were pinned a moment ago.

    Raises:
        StoreUnavailableError: The store does not answer.
        IntegrityError: The channel is damaged.
    """
    versions = await channels.list_versions(name)
    kept = [await channels.load_kept(name, version.version) for version in versions]
    row = await channels.load_row(name)  # the last to be read
    documents = (*kept, row.document, _candidate(row))
    return [entry for document in documents if document for entry in published(document).channel.specializations]


def _candidate(row: ChannelRow) -> bytes:
    return parse_rollout(row.rollout).document if row.rollout and row.rolling else b""
