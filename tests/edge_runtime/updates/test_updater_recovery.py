"""A device with a real model finds its way back: after a restart, a rollback, or damage to its files."""

import os
from pathlib import Path

import pytest

from tests.edge_runtime.contracts import with_answer
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import (
    LONG,
    FakeClock,
    FakeEngine,
    FakeLoader,
    FlakyLoader,
    ask,
    device,
    entry,
    files,
    make_settings,
)
from tests.full_disk import full_disk, read_only_disk


async def test_restart_without_the_cloud_serves_what_served(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Slots come up before anything is polled, merged ones and adapters alike, with the same answers."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        adapter, _ = await ask(parts, "router")
    requests = len(cloud.requests)
    cloud.fail("/", hang_up=True)
    async with device(settings) as parts:
        assert await ask(parts, "router") == (adapter, f"adapter-{wanted.bundle_id}")
        # The merge that the first run did not get to is done from what is on disk.
        await parts.updater.merge_pending()
    async with device(settings) as parts:
        assert len(cloud.requests) == requests
        assert await ask(parts, "router") == (adapter, f"merged-{wanted.bundle_id}")
        await parts.updater.tick()
        assert parts.device.status().last_poll == "cloud_unreachable"
        assert (await ask(parts, "router"))[0] == adapter


async def test_corrupt_state_is_moved_aside_and_the_one_before_it_used(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    (tmp_path / "edge/state.json").write_bytes(b'{"format": 1, "state": {"cha')
    async with device(settings) as parts:
        assert "moved aside" in parts.device.status().problem
        assert (await ask(parts, "router"))[1].endswith(wanted.bundle_id)
    assert any(name.startswith("state.json.corrupt-") for name in files(tmp_path / "edge"))


async def test_lost_state_is_rebuilt_from_channel_and_disk(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """With both states unreadable the channel says what serves, and the disk has it: nothing is downloaded again."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    for name in ("state.json", "state.json.bak"):
        (tmp_path / "edge" / name).write_bytes(os.urandom(100))
    cloud.requests.clear()
    async with device(settings) as parts:
        assert [model.state for model in parts.device.models()] == ["base"]
        await parts.updater.tick()
        assert entry(parts, "router").bundle_id == wanted.bundle_id
    assert [path for path, _ in cloud.requests] == ["/channels/default"]


async def test_lost_state_deletes_nothing_before_the_channel_is_heard(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Without its state a device does not know what its files are for: only the cloud can say what may go."""
    cloud.publish(cloud.make("router"))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        await parts.updater.tick()
    for name in ("state.json", "state.json.bak"):
        (tmp_path / "edge" / name).write_bytes(b"garbage")
    kept = {folder: files(tmp_path / "edge" / folder) for folder in ("banks", "bundles", "slots")}
    assert all(kept.values())
    cloud.fail("/channels/", status=503)
    async with device(settings) as parts:
        await parts.updater.tick()
        assert parts.device.status().last_poll != "ok"
    assert {folder: files(tmp_path / "edge" / folder) for folder in kept} == kept


@pytest.mark.parametrize("is_merged", [False, True])
async def test_restart_on_a_disk_that_became_read_only_serves_what_served(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, is_merged: bool
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        if is_merged:
            await parts.updater.merge_pending()
        before = [await ask(parts, name) for name in ("base", "router")]
    (tmp_path / "edge/slots/left.gguf.partial").write_text("")
    with read_only_disk():
        async with device(make_settings(tmp_path / "edge", tiny_base, None)) as parts:
            assert [await ask(parts, name) for name in ("base", "router")] == before
            await parts.updater.tick()
            assert [await ask(parts, name) for name in ("base", "router")] == before


async def test_changed_quantization_merges_again_while_the_old_slot_serves(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    async with device(make_settings(tmp_path / "edge", tiny_base, None, quantization="F16")) as parts:
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
        assert await parts.updater.merge_pending() == 1
        assert parts.slots.revisions()["router"].model.name == f"{wanted.bundle_id}.F16.gguf"
        await parts.slots.drained()
        await parts.updater.tick()
        assert f"{wanted.bundle_id}.Q8_0.gguf" not in files(tmp_path / "edge/slots")


async def test_damaged_slot_on_disk_falls_back_to_the_adapter_and_is_merged_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    slot = tmp_path / f"edge/slots/{wanted.bundle_id}.Q8_0.gguf"
    slot.write_bytes(slot.read_bytes()[:-5_000])
    async with device(settings) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"


async def test_flipped_bit_in_a_slot_is_found_before_it_serves(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Weights that the disk changed give finite logits and wrong answers: only the checksum can tell."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        good, _ = await ask(parts, "router")
    slot = tmp_path / f"edge/slots/{wanted.bundle_id}.Q8_0.gguf"
    data = bytearray(slot.read_bytes())
    data[len(data) // 2] ^= 1
    slot.write_bytes(data)
    async with device(settings) as parts:
        assert await ask(parts, "router") == (good, f"adapter-{wanted.bundle_id}")
        await parts.updater.merge_pending()
        assert await ask(parts, "router") == (good, f"merged-{wanted.bundle_id}")


async def test_slot_with_a_malformed_contract_gives_way_to_the_adapter_at_a_restart(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Though no request loads it: what its answers mean is not known."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_resident=1)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    slot = tmp_path / f"edge/slots/{wanted.bundle_id}.Q8_0.gguf"
    with_answer(slot, tmp_path / "slot.gguf", "{}").replace(slot)
    async with device(settings) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"


async def test_slot_that_vanished_is_repaired_after_a_request_met_it(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """The request gets a clear error, the next tick brings the specialization back."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    cloud.publish(first, second)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_resident=1)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        await ask(parts, "second")
        (tmp_path / f"edge/slots/{first.bundle_id}.Q8_0.gguf").unlink()
        with pytest.raises(Exception, match="does not exist"):
            await ask(parts, "first")
        await parts.updater.tick()
        assert (await ask(parts, "first"))[1] == f"adapter-{first.bundle_id}"


async def test_unwritable_state_is_reported_and_serving_goes_on(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        (tmp_path / "edge/state.json.bak").mkdir()
        (tmp_path / "edge/state.json").write_text("{}")
        await parts.updater.tick()
        assert "cannot be written" in parts.device.status().problem
        assert (await ask(parts, "router"))[1].startswith("adapter-")


async def test_bundle_whose_files_are_lost_gives_way_to_the_one_before(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """At a restart without the cloud; with the cloud, the newest is brought again."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, clock) as parts:
        for wanted in (first, second):
            cloud.publish(wanted)
            clock.advance(LONG)
            await parts.updater.tick()
            await parts.updater.merge_pending()
    for path in list((tmp_path / "edge").rglob(f"{second.bundle_id}*")):
        path.unlink()
    async with device(settings, clock) as parts:
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        assert second.bundle_id in entry(parts, "router").message
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{second.bundle_id}"


async def test_restart_on_a_full_disk_serves_the_adapter_that_is_there(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        before = await ask(parts, "router")
    with full_disk(8_000):
        async with device(make_settings(tmp_path / "edge", tiny_base, None)) as parts:
            assert await ask(parts, "router") == before


@pytest.mark.parametrize("is_merged", [False, True])
@pytest.mark.parametrize("is_bundle_there", [False, True])
async def test_specialization_that_does_not_load_for_a_while_is_kept(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, is_merged: bool, is_bundle_there: bool
) -> None:
    """With the cloud away its files are all there is. Without its bundle, only a merged slot is worth keeping."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock, loader = FakeClock(), FlakyLoader()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, loader) as parts:
        await parts.updater.tick()
        if is_merged:
            await parts.updater.merge_pending()
            await parts.updater.tick()
    if not is_bundle_there:
        (tmp_path / f"edge/bundles/{wanted.bundle_id}.safetensors").unlink()
    loader.refuses = lambda path: wanted.bundle_id in path.name
    async with device(make_settings(tmp_path / "edge", tiny_base, None), clock, loader) as parts:
        await parts.updater.tick()
        if not is_bundle_there and not is_merged:
            assert entry(parts, "router").state == "failed"
            return
        assert "does not serve now" in entry(parts, "router").message
        assert parts.device.models()[1].state == "pending"
        attempts = parts.updater.state_store.state.failures["router"].attempts
        await parts.updater.tick()
        assert parts.updater.state_store.state.failures["router"].attempts == attempts
        loader.refuses = lambda path: False
        clock.advance(LONG)
        await parts.updater.tick()
        state = "merged" if is_merged else "adapter"
        assert (await ask(parts, "router"))[1] == f"{state}-{wanted.bundle_id}"
        assert entry(parts, "router").message == ""
        assert parts.updater.state_store.state.failures == {}


class SpoilingLoader(FakeLoader):
    """A llama.cpp whose adapters give no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.spoiled = 0

    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        engine = super().load(model, adapter)
        if adapter is not None:
            engine.words = [b"NaN"]
            self.spoiled += 1
        return engine


async def test_specialization_that_failed_for_good_after_a_restart_is_not_tried_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Its name says so; the next restart, with other settings or another program, tries once more."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock, loader = FakeClock(), FakeLoader()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, loader) as parts:
        await parts.updater.tick()
    settings = make_settings(tmp_path / "edge", tiny_base, None)
    insane = SpoilingLoader()
    async with device(settings, clock, insane) as parts:
        for _ in range(3):
            clock.advance(LONG)
            await parts.updater.tick()
        assert insane.spoiled == 1
        served = entry(parts, "router")
        assert (served.state, served.permanent) == ("failed", True)
    async with device(settings, clock, loader) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
