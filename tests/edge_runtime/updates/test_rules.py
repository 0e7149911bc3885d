"""What a channel asks of a device, without any device."""

from dataclasses import replace
from typing import Literal

import pytest

from edge_runtime.errors import (
    AnswerContractError,
    BaseGgufError,
    BaseGgufUnreadableError,
    CanaryError,
    CanaryUnfinishedError,
    CloudUnreachableError,
    DigestMismatchError,
    ModelLoadError,
    OutputError,
    UpdateError,
)
from edge_runtime.updates.rules import (
    describe_outcome,
    entry_after,
    is_permanent,
    plan_changes,
    state_after,
    verify_announced,
    verify_wanted,
)
from edge_runtime.updates.state import Command, DeviceState, Entry, Failure, Installed
from loragen.contract.bundle import BundleHeader
from loragen.contract.channel import Channel, RecipeReference, Specialization
from loragen.contract.errors import FormatError, MismatchError


def specialization(name: str, bundle: str) -> Specialization:
    return Specialization(
        name=name,
        bundle_id=bundle * 64,
        bundle_bytes=1,
        edge_model_id="tiny-edge",
        edge_model_digest="e" * 64,
        recipe=RecipeReference("f" * 64, 1, "g", "d" * 64, "b" * 64),
    )


def channel(*listed: Specialization) -> Channel:
    return Channel("default", 1, listed)


def state(**entries: Entry) -> DeviceState:
    return DeviceState("e" * 64, "default", entries=entries)


def entry(bundle: str, rolled_back_from: str | None = None) -> Entry:
    return Entry(Installed(bundle * 64, "merged", 1, 1), rolled_back_from=rolled_back_from)


def test_new_changed_and_removed() -> None:
    wanted = channel(specialization("changed", "2"), specialization("new", "1"), specialization("same", "1"))
    plan = plan_changes(wanted, state(changed=entry("1"), same=entry("1"), gone=entry("1")))
    assert [s.name for s in plan.install] == ["changed", "new"]
    assert plan.remove == ("gone",)
    assert plan.forget == ()


def test_bundle_that_was_rolled_back_from_is_not_installed_again() -> None:
    rolled_back = state(router=entry("1", rolled_back_from="2" * 64))
    assert plan_changes(channel(specialization("router", "2")), rolled_back).install == ()
    assert len(plan_changes(channel(specialization("router", "3")), rolled_back).install) == 1


def test_pinned_specialization_is_neither_replaced_nor_removed() -> None:
    pinned = state(router=replace(entry("1"), pinned=True))
    for listed in (channel(specialization("router", "2")), channel()):
        plan = plan_changes(listed, pinned)
        assert (plan.install, plan.remove) == ((), ())


def test_rollback_swaps_to_the_bundle_before_and_leaves_a_pin() -> None:
    served = replace(entry("2"), previous=entry("1").active, pinned=True)
    after = entry_after(Command("rollback", "router"), state(router=served))
    assert after == Entry(entry("1").active, rolled_back_from="2" * 64, pinned=True)
    with pytest.raises(UpdateError) as caught:
        entry_after(Command("rollback", "router"), state(router=after))
    assert caught.value.code == "no_previous"


def test_pin_and_unpin_change_nothing_else() -> None:
    served = replace(entry("2"), previous=entry("1").active)
    pinned = entry_after(Command("pin", "router"), state(router=served))
    assert pinned == replace(served, pinned=True)
    assert entry_after(Command("unpin", "router"), state(router=pinned)) == served


@pytest.mark.parametrize("action", ["rollback", "pin", "unpin"])
def test_command_for_a_name_that_is_not_installed_is_refused(action: Literal["rollback", "pin", "unpin"]) -> None:
    with pytest.raises(UpdateError) as caught:
        entry_after(Command(action, "router"), state())
    assert caught.value.code == "not_installed"


@pytest.mark.parametrize(("permanent", "tries"), [(True, 0), (False, 1)])
def test_permanent_failure_is_not_tried_again(permanent: bool, tries: int) -> None:
    failed = replace(state(), failures={"router": Failure("1" * 64, "mismatch", "x", 1, permanent)})
    assert len(plan_changes(channel(specialization("router", "1")), failed).install) == tries


def test_failure_of_bytes_that_are_no_longer_wanted_is_forgotten() -> None:
    failed = replace(
        state(),
        failures={"router": Failure("1" * 64, "mismatch", "x", 1, True), "gone": Failure("1" * 64, "x", "x", 1, True)},
    )
    plan = plan_changes(channel(specialization("router", "2")), failed)
    assert set(plan.forget) == {"router", "gone"}
    assert len(plan.install) == 1


@pytest.mark.parametrize("name", ["base", "tiny-edge"])
def test_names_of_the_base_model_cannot_be_taken(name: str) -> None:
    with pytest.raises(MismatchError, match="base model"):
        verify_wanted(specialization(name, "1"), "tiny-edge", "e" * 64)


def test_other_edge_model_is_refused_with_both_digests() -> None:
    verify_wanted(specialization("router", "1"), "tiny-edge", "e" * 64)
    verify_wanted(specialization("router", "1"), "some-base GGUF", None)
    with pytest.raises(MismatchError, match=f"{'a' * 64}.*{'e' * 64}"):
        verify_wanted(specialization("router", "1"), "tiny-edge", "a" * 64)


@pytest.mark.parametrize("field", ["generator_id", "generator_digest", "edge_model_id", "edge_model_digest"])
def test_header_must_say_what_the_channel_says(field: str) -> None:
    header = BundleHeader("g", "d" * 64, "tiny-edge", "e" * 64, 1, 1, 1, "0" * 64, 1)
    verify_announced(header, specialization("router", "1"))
    other = replace(header, **{field: "0" * 64})
    with pytest.raises(MismatchError, match=field):
        verify_announced(other, specialization("router", "1"))


def test_what_the_same_bytes_would_do_again_is_permanent() -> None:
    permanent = (FormatError, MismatchError, AnswerContractError, CanaryError, BaseGgufError)
    assert all(is_permanent(error("x")) for error in permanent)
    of_files = (ModelLoadError, OutputError, CanaryUnfinishedError, BaseGgufUnreadableError)
    assert not any(is_permanent(error("x")) for error in (*of_files, DigestMismatchError, CloudUnreachableError))


def test_accepted_channel_may_have_any_version() -> None:
    before = replace(state(router=entry("1")), channel_version=7)
    after = state_after(Command("accept", "default"), before)
    assert after == replace(before, channel_version=None)
    assert "default" in describe_outcome(Command("accept", "default"), after)
    with pytest.raises(UpdateError, match="follows the channel 'default'") as caught:
        state_after(Command("accept", "other"), before)
    assert caught.value.code == "not_followed"
