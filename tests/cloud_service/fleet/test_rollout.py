"""Which devices see a rollout's candidate."""

from dataclasses import replace

import pytest

from cloud_service.errors import ConflictError, IntegrityError
from cloud_service.fleet.rollout import (
    Group,
    HaltRule,
    Rollout,
    device_place,
    encode_rollout,
    new_bundles,
    parse_rollout,
    verify_going_on,
)
from loragen.contract.channel import Channel, Specialization, encode_channel
from loragen.contract.polling import PollingDevice

DOCUMENT = encode_channel(Channel("kitchen", 8, ()))


def _rollout(*groups: Group, **changes: object) -> Rollout:
    rollout = Rollout("mail is b", DOCUMENT, 8, ("b",), groups or (Group(100),), HaltRule(5, 10), 0, 1)
    return replace(rollout, **changes)  # type: ignore[arg-type]


def _reached(rollout: Rollout, **about: object) -> set[str]:
    names = [f"device-{number}" for number in range(2_000)]
    devices = {name: PollingDevice(name, **about) for name in names}  # type: ignore[arg-type]
    return {name for name, device in devices.items() if rollout.includes("kitchen", device, 10)}


def test_percentage_reaches_its_share_and_growing_it_only_adds() -> None:
    few, more = _reached(_rollout(Group(10))), _reached(_rollout(Group(10)).widened(Group(30)))
    assert 140 < len(few) < 260
    assert 500 < len(more) < 700
    assert few < more
    assert len(_reached(_rollout(Group(100)))) == 2_000
    assert _rollout(Group(30)).widened(Group(10)).groups == (Group(30),)


def test_other_versions_reach_other_devices_first() -> None:
    places = [device_place("kitchen", version, "toaster") for version in range(100)]
    assert all(0 <= place < 100 for place in places)
    assert len(set(places)) > 90


def test_group_has_devices_with_all_its_labels() -> None:
    rollout = _rollout(Group(100, {"ring": "canary", "site": "berlin"}))
    berlin = {"ring": "canary", "site": "berlin", "more": "x"}
    assert rollout.includes("kitchen", PollingDevice("a", berlin), 10)
    assert not rollout.includes("kitchen", PollingDevice("a", {"ring": "canary"}), 10)
    wider = rollout.widened(Group(100, {"site": "rome"}))
    assert wider.includes("kitchen", PollingDevice("a", berlin), 10)
    assert wider.includes("kitchen", PollingDevice("a", {"site": "rome"}), 10)


def test_nobody_new_sees_it_before_its_start_or_in_a_pause_and_who_has_it_keeps_it() -> None:
    for rollout in (_rollout(starts_at=11), _rollout(state="paused"), _rollout(Group(0.01, {"ring": "none"}))):
        assert _reached(rollout) == set()
        assert len(_reached(rollout, version=8)) == 2_000
    assert _reached(_rollout(starts_at=10))
    assert not _rollout().includes("kitchen", PollingDevice(), 10)


@pytest.mark.parametrize(
    ("devices", "failing", "halts"), [(10, 1, True), (9, 9, False), (100, 4, False), (100, 5, True), (50, 0, False)]
)
def test_halt_needs_enough_devices_and_enough_of_them_failing(devices: int, failing: int, halts: bool) -> None:
    assert bool(HaltRule(5, 10).reason(devices, failing, 0)) is halts


def test_rollout_is_halted_for_devices_that_fail_or_get_slower_each_by_its_own_share() -> None:
    rule = HaltRule(5, 10, 25)
    assert rule.reason(9, 9, 9) == ""
    assert rule.reason(20, 1, 20) == "failed on 1 of 20 devices"
    assert rule.reason(20, 0, 5) == "slower on 5 of 20 devices"
    assert rule.reason(20, 0, 4) == ""


def test_ended_rollout_is_not_changed() -> None:
    verify_going_on(_rollout())
    with pytest.raises(ConflictError, match="promoted already"):
        verify_going_on(_rollout().ended("promoted", ""))


def test_new_bundles_are_those_that_a_name_did_not_mean() -> None:
    def entry(name: str, bundle: str) -> Specialization:
        return Specialization(name, bundle * 64, 1, "tiny", "d" * 64, None)

    old = Channel("kitchen", 1, (entry("a", "1"), entry("b", "2")))
    assert new_bundles(old, (entry("a", "1"), entry("b", "3"), entry("c", "1"))) == ("1" * 64, "3" * 64)


def test_stored_rollout_is_read_back() -> None:
    rollout = _rollout(Group(2.5, {"ring": "canary"}), Group(50))
    assert parse_rollout(encode_rollout(rollout)) == rollout
    ended = rollout.ended("halted", "failed")
    assert parse_rollout(encode_rollout(ended)) == ended


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"document": 1}', b"\xff"])
def test_damaged_rollout_is_an_integrity_error(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_rollout(data)
