"""A device with a real model follows its channel: what is announced serves, merged in time, and what is not goes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import UnknownModelError
from edge_runtime.serving.slots import Slot
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, FakeLoader, ask, device, entry, files, make_settings


async def test_published_specialization_serves_as_adapter_then_merged(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """The adapter answers at once, the merge follows, and both say the same."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        adapter, fingerprint = await ask(parts, "router")
        assert fingerprint == f"adapter-{wanted.bundle_id}"
        assert await parts.updater.merge_pending() == 1
        merged, fingerprint = await ask(parts, "router")
        assert fingerprint == f"merged-{wanted.bundle_id}"
        base, fingerprint = await ask(parts, "base")
        assert fingerprint == "base"
        assert adapter == merged != base
        served = entry(parts, "router")
        assert served.state == "merged"
        assert served.retained_delta is not None
        assert served.retained_delta > 0.9
        assert served.agreement is not None
        assert served.agreement > 0.9
        assert served.tokens_saved_per_call == 120


async def test_new_bundle_swaps_while_a_request_is_in_flight(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """The request keeps the slot it started on; the next one gets the new bundle; the old slot closes when drained."""
    old, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(old)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        async with parts.slots.lease("router") as leased:
            cloud.publish(new)
            parts.updater.poller.poll_now()  # type: ignore[union-attr]
            await parts.updater.tick()
            assert (await ask(parts, "router"))[1] == f"adapter-{new.bundle_id}"
            assert leased.revision.bundle_id == old.bundle_id
            assert not leased.worker.is_closed
            assert f"{old.bundle_id}.Q8_0.gguf" in files(tmp_path / "edge/slots")
        await parts.slots.drained()
        assert leased.worker.is_closed


async def test_unpublished_specialization_is_unloaded_and_its_files_deleted(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    gone, kept = cloud.make("gone", 1), cloud.make("kept", 2)
    cloud.publish(gone, kept)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        cloud.unpublish("gone")
        parts.updater.poller.poll_now()  # type: ignore[union-attr]
        await parts.updater.tick()
        await parts.slots.drained()
        await parts.updater.tick()
        with pytest.raises(UnknownModelError):
            await ask(parts, "gone")
        assert (await ask(parts, "kept"))[1] == f"merged-{kept.bundle_id}"
        assert files(tmp_path / "edge/bundles") == {f"{kept.bundle_id}.safetensors"}
        assert files(tmp_path / "edge/adapters") == set()
        assert {name for name in files(tmp_path / "edge/slots") if not name.startswith("base")} == {
            f"{kept.bundle_id}.Q8_0.gguf",
            f"{kept.bundle_id}.Q8_0.gguf.crc32",
        }
    state = json.loads((tmp_path / "edge/state.json").read_text())
    assert set(state["state"]["entries"]) == {"kept"}


async def test_one_bundle_under_two_names_is_merged_once(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    wanted = cloud.make("first")
    cloud.publish(wanted, replace(wanted, name="second"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        assert entry(parts, "first").state == entry(parts, "second").state == "merged"
        assert entry(parts, "first").created == entry(parts, "second").created
        cloud.unpublish("first")
        parts.updater.poller.poll_now()  # type: ignore[union-attr]
        await parts.updater.tick()
        assert (await ask(parts, "second"))[1] == f"merged-{wanted.bundle_id}"
        assert f"{wanted.bundle_id}.Q8_0.gguf" in files(tmp_path / "edge/slots")


async def test_more_specializations_than_fit_in_memory_are_loaded_on_demand(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = [cloud.make(f"task-{seed}", seed) for seed in range(3)]
    cloud.publish(*wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_resident=2)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        for each in (*wanted, *wanted):
            assert (await ask(parts, each.name))[1] == f"merged-{each.bundle_id}"
            assert sum(parts.slots.is_resident(name) for name in parts.slots.revisions()) <= 2


async def test_channel_that_is_not_there_deletes_nothing(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        await parts.updater.tick()
        cloud.channel = None
        clock.advance(LONG)
        await parts.updater.tick()
        assert parts.device.status().last_poll == "channel_missing"
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"


async def test_bundle_that_comes_back_is_not_merged_again(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Its merged file is still there, kept for a rollback."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        for wanted in (first, second):
            cloud.publish(wanted)
            clock.advance(LONG)
            await parts.updater.tick()
            await parts.updater.merge_pending()
        cloud.publish(first)
        clock.advance(LONG)
        await parts.updater.tick()
        assert await parts.updater.merge_pending() == 0
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"


@pytest.mark.parametrize("is_twin", [False, True])
async def test_bundle_that_is_replaced_while_it_is_merged_never_serves(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_twin: bool
) -> None:
    """The newer bundle arrives while the old one's slot is being checked; the old one is not put back."""
    old, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(old)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        if is_twin:
            cloud.publish(replace(old, name="a-twin"))
            await parts.updater.tick()
            monkeypatch.setattr(parts.updater.state_store, "is_due", lambda name: name != "router")
            await parts.updater.merge_pending()
            monkeypatch.undo()
        else:
            await parts.updater.tick()

        async def slow_canary(slot: Slot) -> None:
            monkeypatch.undo()
            cloud.publish(new)
            clock.advance(LONG)
            await parts.updater.tick()

        monkeypatch.setattr("edge_runtime.updates.first_answer.verify_answers", slow_canary)
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{new.bundle_id}"
        assert entry(parts, "router").bundle_id == new.bundle_id


async def test_of_many_specializations_those_that_are_asked_most_are_merged(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """The others serve as adapters on one model: thirty merged ones would need thirty files, and their memory."""
    cloud.publish(*(cloud.make(f"n{number}", number) for number in range(6)))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_merged=2)
    async with device(settings, loader=FakeLoader()) as parts:
        await parts.updater.tick()
        assert await parts.updater.merge_pending() == 0
        for name in ("n1", "n4", "n4", "n5", "n5", "n5"):
            await ask(parts, name)
        assert await parts.updater.merge_pending() == 2
        states = {model.id: model.state for model in parts.device.models()[1:]}
        assert [name for name, state in states.items() if state == "merged"] == ["n4", "n5"]
        assert set(states.values()) == {"merged", "adapter"}
        assert parts.device.status().threads == 1


async def test_thirty_specializations_come_up_again_without_thirty_models_loaded(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Beside the base, as many as are kept in memory are loaded at once; each other one when it is asked for."""
    cloud.publish(*(cloud.make(f"n{number}", number) for number in range(30)))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_merged=0, max_resident=3)
    async with device(settings, loader=FakeLoader()) as parts:
        await parts.updater.tick()
    loader = FakeLoader()
    async with device(make_settings(tmp_path / "edge", tiny_base, None, max_resident=3), loader=loader) as parts:
        assert len(loader.engines) == 3
        assert len(parts.device.models()) == 31
        for number in (0, 17, 29):
            assert (await ask(parts, f"n{number}"))[1].startswith("adapter-")
        assert loader.most_open <= 4
