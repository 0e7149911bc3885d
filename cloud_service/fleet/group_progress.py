"""How far a rollout has come with each of its groups, by what devices reported."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from cloud_service.fleet.rollout import Group, Rollout, device_place
from cloud_service.store import DeviceEntry
from loragen.contract.polling import PollingDevice


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """One group.

    Attributes:
        devices: Known devices that belong to it. A device may belong to several groups.
        updated: Those of them that have the candidate's version or a newer one.
        failing: Those of these on which one of the candidate's bundles failed.
        slower: Those of these that answer more slowly with one of them than before.
    """

    group: Group
    devices: int = 0
    updated: int = 0
    failing: int = 0
    slower: int = 0


async def count_groups(
    channel: str, rollout: Rollout, entries: AsyncIterator[DeviceEntry]
) -> tuple[GroupProgress, ...]:
    """The progress of each group of a rollout.

    Args:
        channel: Its channel.
        rollout: Whose groups.
        entries: The devices of the channel.
    """
    counts = [[0, 0, 0, 0] for _ in rollout.groups]
    brought = set(rollout.bundles)
    async for entry in entries:
        place = device_place(channel, rollout.version, entry.device_id)
        device = PollingDevice(entry.device_id, entry.labels)
        has_it = entry.version >= rollout.version
        for group, count in zip(rollout.groups, counts, strict=True):
            if group.has(device, place):
                count[0] += 1
                count[1] += has_it
                count[2] += has_it and not brought.isdisjoint(entry.failed)
                count[3] += has_it and not brought.isdisjoint(entry.slower)
    return tuple(GroupProgress(group, *count) for group, count in zip(rollout.groups, counts, strict=True))
