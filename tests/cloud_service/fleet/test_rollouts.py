"""Rollouts over both real stores."""

import asyncio
import time
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from cloud_service.access.audit import AuditLog
from cloud_service.errors import ConflictError, InvalidRequestError, NotFoundError, PreconditionError
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.devices import CandidateCount, DeviceService
from cloud_service.fleet.rollout import Group, HaltRule
from cloud_service.fleet.rollouts import RolloutRequest, RolloutService
from cloud_service.store import DeviceEntry, Store, StoredEvent
from loragen.contract.channel import parse_channel
from loragen.contract.digest import sha256_hex
from loragen.contract.polling import PollingDevice
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.services import generate_lora, make_channels
from tests.cloud_service.store_backends import SqliteBackend, StoreBackend


@dataclass
class Replica:
    """One process's view of a fleet."""

    channels: ChannelService
    rollouts: RolloutService
    devices: DeviceService

    @classmethod
    def of(cls, store: Store) -> "Replica":
        channels = make_channels(store)
        devices = DeviceService(store.devices, store.channels, AuditLog(store.access))
        return cls(channels, RolloutService(channels, store.channels, devices), devices)

    def sees(self, device: PollingDevice) -> bool:
        """Whether a device that polls here gets a candidate."""
        candidate = self.rollouts.find("kitchen")
        return candidate is not None and candidate.is_for(device)


async def _fleet(store: Store, generator: FakeGenerator) -> tuple[Replica, str, str]:
    """A channel with one bundle, and another bundle that is not in it."""
    replica = Replica.of(store)
    old = (await generate_lora(store, generator, "sort the mail")).bundle_id
    new = (await generate_lora(store, generator, "sort the post")).bundle_id
    await replica.channels.publish("kitchen", "mail", old)
    return replica, old, new


def _to(bundle_id: str, group: Group = Group(100), halt: HaltRule = HaltRule(5, 3)) -> RolloutRequest:  # noqa: B008
    return RolloutRequest(group, halt, name="mail", bundle_id=bundle_id)


CANARY = Group(100, {"ring": "canary"})
TOASTER = PollingDevice("toaster", {"ring": "canary"}, 1)
KETTLE = PollingDevice("kettle", {}, 1)


async def test_candidate_reaches_its_group_and_then_all(backend: StoreBackend, generator: FakeGenerator) -> None:
    store = await backend.open()
    replica, old, new = await _fleet(store, generator)
    other = Replica.of(await backend.open())
    progress = await replica.rollouts.start("kitchen", _to(new, CANARY))
    assert (progress.rollout.version, progress.rollout.state, progress.rollout.bundles) == (2, "running", (new,))
    assert (replica.sees(TOASTER), replica.sees(KETTLE)) == (True, False)
    await other.rollouts.refresh()
    assert (other.sees(TOASTER), other.sees(KETTLE)) == (True, False)
    # Whoever reads the channel itself sees what it was.
    assert (await replica.channels.load("kitchen")).channel.specializations[0].bundle_id == old
    candidate = replica.rollouts.find("kitchen")
    assert candidate is not None
    assert parse_channel(candidate.rollout.document).specializations[0].bundle_id == new

    await replica.rollouts.widen("kitchen", 2, Group(100))
    assert replica.sees(KETTLE)
    await replica.rollouts.set_state("kitchen", 2, "promoted")
    assert replica.rollouts.find("kitchen") is None
    now = await replica.channels.load("kitchen")
    # To the byte what the devices have already.
    assert (now.document, now.digest) == (candidate.rollout.document, candidate.digest)
    await other.rollouts.refresh()
    assert other.rollouts.find("kitchen") is None
    actions = [each.action for each in await replica.channels.list_events("kitchen")]
    assert actions == ["promote", "widen", "rollout", "publish"]
    assert [each.version for each in await replica.channels.list_versions("kitchen")] == [2, 1]


async def test_rollout_has_so_many_groups_and_those_are_widened_still(
    sqlite: SqliteBackend, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.fleet.rollouts.MAX_ROLLOUT_GROUPS", 3)
    replica, _, new = await _fleet(await sqlite.open(), generator)
    await replica.rollouts.start("kitchen", _to(new, CANARY))
    for site in ("rome", "oslo"):
        await replica.rollouts.widen("kitchen", 2, Group(10, {"site": site}))
    with pytest.raises(ConflictError) as caught:
        await replica.rollouts.widen("kitchen", 2, Group(10, {"site": "lima"}))
    assert caught.value.code == "rollout_full"
    progress = await replica.rollouts.widen("kitchen", 2, Group(20, {"site": "oslo"}))
    assert [group.percent for group in progress.rollout.groups][1:] == [10, 20]


async def test_aborted_rollout_gives_everybody_the_old_content_as_a_newer_version(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    replica, old, new = await _fleet(await backend.open(), generator)
    await replica.rollouts.start("kitchen", _to(new))
    progress = await replica.rollouts.set_state("kitchen", 2, "aborted", "by request")
    assert (progress.rollout.state, progress.rollout.reason) == ("aborted", "by request")
    assert await replica.rollouts.set_state("kitchen", 2, "aborted") == progress
    now = (await replica.channels.load("kitchen")).channel
    assert (now.version, now.specializations[0].bundle_id) == (3, old)
    for call in (
        replica.rollouts.set_state("kitchen", 2, "promoted"),
        replica.rollouts.widen("kitchen", 2, Group(100)),
    ):
        with pytest.raises(ConflictError) as caught:
            await call
        assert caught.value.code == "rollout_ended"
    again = await replica.rollouts.start("kitchen", _to(new))
    assert again.rollout.version == 4


async def test_paused_rollout_reaches_nobody_new(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    replica, _, new = await _fleet(await sqlite.open(), generator)
    await replica.rollouts.start("kitchen", _to(new))
    await replica.rollouts.set_state("kitchen", 2, "paused")
    assert not replica.sees(KETTLE)
    assert replica.sees(PollingDevice("toaster", {}, 2))
    await replica.rollouts.set_state("kitchen", 2, "running")
    assert replica.sees(KETTLE)


async def test_rollout_whose_devices_fail_is_halted(backend: StoreBackend, generator: FakeGenerator) -> None:
    replica, old, new = await _fleet(await backend.open(), generator)
    await replica.rollouts.start("kitchen", _to(new, halt=HaltRule(25, 4)))

    async def report(device_id: str, version: int, *failed: str) -> None:
        await replica.devices.report(DeviceEntry("kitchen", device_id, version, failed), b"{}")

    for number in range(10):
        await report(f"old-{number}", 1, old)  # fails, but not on the candidate
    for device_id in ("a", "b", "c"):
        await report(device_id, 2)
    await report("a", 2, new)
    await replica.rollouts.look()
    assert replica.rollouts.find("kitchen") is not None  # three devices are too few
    await report("d", 2, old)
    await replica.rollouts.look()
    assert replica.rollouts.find("kitchen") is None
    progress = await replica.rollouts.load("kitchen")
    assert progress is not None
    assert (progress.rollout.state, progress.rollout.reason) == ("halted", "failed on 1 of 4 devices")
    now = (await replica.channels.load("kitchen")).channel
    assert (now.version, now.specializations[0].bundle_id) == (3, old)
    assert (await replica.channels.list_events("kitchen"))[0].action == "halt"


async def test_rollout_whose_devices_get_slower_is_halted(backend: StoreBackend, generator: FakeGenerator) -> None:
    replica, old, new = await _fleet(await backend.open(), generator)
    await replica.rollouts.start("kitchen", _to(new, halt=HaltRule(25, 4, 50)))
    for number, slower in enumerate([(old,), (old,), (), (new,)]):
        await replica.devices.report(DeviceEntry("kitchen", f"d{number}", 2, slower=slower), b"{}")
    await replica.rollouts.look()
    assert replica.rollouts.find("kitchen") is not None, "one of four, and the others got slower for something else"
    await replica.devices.report(DeviceEntry("kitchen", "d0", 2, slower=(new,)), b"{}")
    await replica.rollouts.look()
    progress = await replica.rollouts.load("kitchen")
    assert progress is not None
    assert (progress.rollout.state, progress.rollout.reason) == ("halted", "slower on 2 of 4 devices")
    assert (progress.updated, progress.failing, progress.slower) == (4, 0, 2)


async def test_rollout_that_takes_long_to_look_at_is_looked_at_more_seldom(
    backend: StoreBackend, generator: FakeGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every replica looks at up to 10,000 devices, for each rollout that goes on."""
    replica, _, new = await _fleet(await backend.open(), generator)
    await replica.rollouts.start("kitchen", _to(new))
    count_with, seconds = replica.devices.count_with, 0.0
    looked: list[float] = []

    async def count(channel: str, version: int, bundles: tuple[str, ...]) -> CandidateCount:
        looked.append(time.monotonic())
        await asyncio.sleep(seconds)
        return await count_with(channel, version, bundles)

    monkeypatch.setattr(replica.devices, "count_with", count)
    for _ in range(3):
        await replica.rollouts.look()
    assert len(looked) == 3, "as often as asked, while it takes no time"
    seconds = 0.15
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        await replica.rollouts.look()
        await asyncio.sleep(0.02)
    pauses = [later - earlier for earlier, later in pairwise(looked[3:])]
    assert len(pauses) < 2
    assert all(pause > 0.6 for pause in pauses)


async def test_one_damaged_rollout_hides_no_other_and_is_reported_once(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    """Neither one that cannot be read, nor one that cannot be judged."""
    store = await backend.open()
    replica, old, new = await _fleet(store, generator)
    for channel in ("attic", "kitchen", "shed"):
        await replica.channels.publish(channel, "mail", old)
        await replica.rollouts.start(channel, _to(new, halt=HaltRule(25, 1)))
    for channel, damage in (("attic", {"rollout": b"{"}), ("shed", {"document": b"{"})):
        row = await store.channels.load_row(channel)
        damaged = replace(row, revision=row.revision + 1, **damage)
        assert await store.channels.write(channel, damaged, StoredEvent("damage", "", row.version))
    other = Replica.of(await backend.open())
    with capture_logs() as logs:
        for _ in range(2):
            await other.rollouts.look()
        assert other.rollouts.find("attic") is None
        assert [other.rollouts.find(channel) is None for channel in ("kitchen", "shed")] == [False, False]
        for channel in ("kitchen", "shed"):
            await other.devices.report(DeviceEntry(channel, "a", 2, (new,)), b"{}")
        for _ in range(2):
            await other.rollouts.look()
    assert other.rollouts.find("kitchen") is None, "halted, though the ones before and behind it are damaged"
    reported = [(each["channel"], each["event"]) for each in logs if each["event"] == "rollout_failed"]
    assert reported == [("attic", "rollout_failed"), ("shed", "rollout_failed")]


async def test_publish_and_rollout_at_once_never_make_one_version_twice(
    backend: StoreBackend, generator: FakeGenerator
) -> None:
    here, _, new = await _fleet(await backend.open(), generator)
    there = Replica.of(await backend.open())
    outcomes = await asyncio.gather(
        here.rollouts.start("kitchen", _to(new)),
        *(there.channels.publish("kitchen", f"post-{number}", new) for number in range(6)),
        return_exceptions=True,
    )
    assert all(isinstance(each, ConflictError) or not isinstance(each, BaseException) for each in outcomes)
    channel = (await here.channels.load("kitchen")).channel
    candidate = here.rollouts.find("kitchen")
    assert candidate is not None
    assert candidate.rollout.version == channel.version + 1
    names = {each.name for each in parse_channel(candidate.rollout.document).specializations}
    assert names == {each.name for each in channel.specializations}


async def test_kept_version_is_rolled_out(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    replica, old, new = await _fleet(await sqlite.open(), generator)
    await replica.channels.publish("kitchen", "mail", new)
    progress = await replica.rollouts.start("kitchen", RolloutRequest(Group(100), HaltRule(5, 10), version=1))
    (entry,) = parse_channel(progress.rollout.document).specializations
    assert (progress.rollout.version, entry.bundle_id) == (3, old)


async def test_restart_keeps_a_rollout(backend: StoreBackend, generator: FakeGenerator) -> None:
    replica, _, new = await _fleet(await backend.open(), generator)
    await replica.rollouts.start("kitchen", _to(new, CANARY))
    await backend.restart()
    again = Replica.of(await backend.open())
    assert not again.sees(TOASTER)
    await again.rollouts.refresh()
    assert again.sees(TOASTER)


async def test_rollout_that_cannot_be_is_refused(sqlite: SqliteBackend, generator: FakeGenerator) -> None:
    store = await sqlite.open()
    replica, _, new = await _fleet(store, generator)
    rollouts = replica.rollouts
    assert await rollouts.load("kitchen") is None
    for channel, request, error, code in (
        ("garden", _to(new), NotFoundError, "not_found"),
        ("../x", _to(new), InvalidRequestError, "invalid_name"),
        ("kitchen", _to(sha256_hex(b"x")), NotFoundError, "bundle_not_found"),
        ("kitchen", RolloutRequest(CANARY, HaltRule(5, 1), version=9), NotFoundError, "version_not_found"),
        ("kitchen", RolloutRequest(CANARY, HaltRule(5, 1), "base", new), InvalidRequestError, "reserved_name"),
    ):
        with pytest.raises(error) as caught:
            await rollouts.start(channel, request)
        assert caught.value.code == code
    with pytest.raises(PreconditionError):
        await rollouts.start("kitchen", _to(new), lambda digest, _: False)
    for call in (rollouts.set_state("kitchen", 2, "paused"), rollouts.widen("kitchen", 2, CANARY)):
        with pytest.raises(NotFoundError):
            await call
    await rollouts.start("kitchen", _to(new))
    with pytest.raises(ConflictError) as conflict:
        await rollouts.start("kitchen", _to(new))
    assert conflict.value.code == "rollout_goes_on"
