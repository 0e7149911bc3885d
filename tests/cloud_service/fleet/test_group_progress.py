"""How far each group of a rollout is."""

from collections.abc import AsyncIterator

from cloud_service.fleet.group_progress import GroupProgress, count_groups
from cloud_service.fleet.rollout import Group, HaltRule, Rollout, device_place
from cloud_service.store import DeviceEntry

BAD = "f" * 64


async def _devices(*entries: DeviceEntry) -> AsyncIterator[DeviceEntry]:
    for entry in entries:
        yield entry


async def test_device_counts_in_each_group_that_it_belongs_to() -> None:
    canary, all_devices, half = Group(100, {"ring": "canary"}), Group(100), Group(50)
    rollout = Rollout("x", b"", 2, (BAD,), (canary, all_devices, half), HaltRule(5, 10), 0, 0)
    entries = [
        DeviceEntry("kitchen", "one", 2, (), {"ring": "canary"}),
        DeviceEntry("kitchen", "two", 3, (BAD,), slower=(BAD,)),
        DeviceEntry("kitchen", "three", 1, (BAD,)),
        DeviceEntry("kitchen", "four", 2, ("0" * 64,)),
    ]
    lower = [each for each in entries if device_place("kitchen", 2, each.device_id) < 50]
    counted = await count_groups("kitchen", rollout, _devices(*entries))
    assert counted[:2] == (GroupProgress(canary, 1, 1), GroupProgress(all_devices, 4, 3, 1, 1))
    assert counted[2].devices == len(lower)


async def test_rollout_without_devices_has_empty_groups() -> None:
    group = Group(10)
    rollout = Rollout("x", b"", 2, (), (group,), HaltRule(5, 10), 0, 0)
    assert await count_groups("kitchen", rollout, _devices()) == (GroupProgress(group),)
