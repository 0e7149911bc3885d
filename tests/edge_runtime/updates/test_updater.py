"""A device with a real model, against a cloud that behaves and misbehaves."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.channel import Specialization
from contract.digest import sha256_hex
from edge_runtime.bootstrap import Parts
from edge_runtime.errors import ConfigurationError, UnknownModelError
from edge_runtime.merge import quantize_base
from edge_runtime.serving.slots import Slot
from edge_runtime.serving.view import ServedModel
from tests.edge_runtime.conftest import TINY_SHAPE
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import FakeClock, ask, device, make_settings

LONG = 100_000.0
"""Seconds after which everything is due again."""


def entry(parts: Parts, name: str) -> ServedModel:
    """What the device says of one specialization."""
    return next(model for model in parts.device.models() if model.id == name)


def files(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def garbled(cloud: FakeCloud, wanted: Specialization, old: bytes, new: bytes) -> Specialization:
    """The specialization with other bytes in its bundle, announced under their own, honest digest."""
    data = cloud.bundles[wanted.bundle_id]
    assert old in data
    assert len(old) == len(new)
    return cloud.keep(wanted.name, data.replace(old, new, 1), cloud.recipes[wanted.recipe_id])


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file can grow beyond a few bytes; writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_published_specialization_serves_as_adapter_then_merged(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """The adapter answers at once, the merge follows, and both say the same."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
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
        assert served.survival is not None
        assert served.survival > 0.9
        assert served.prompt_tokens == 120


async def test_recipes_share_one_bank(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    """Two specializations cost two recipes and one bank, no bundle, and give the bundles that were announced."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    cloud.publish(first, second)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
    assert cloud.asked("/recipes/") == 2
    assert cloud.asked("/generators/") == 1
    assert cloud.asked("/bundles/") == 0
    for wanted in (first, second):
        assert sha256_hex((tmp_path / f"edge/bundles/{wanted.bundle_id}.safetensors").read_bytes()) == wanted.bundle_id


@pytest.mark.parametrize("prefix", ["/generators/", "/recipes/"])
async def test_bundle_is_fetched_when_recipe_or_bank_cannot_be_had(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path, prefix: str
) -> None:
    cloud.publish(cloud.make("router"))
    cloud.fail(prefix, status=404)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    assert cloud.asked("/bundles/") == 1


async def test_bank_over_the_limit_is_not_fetched(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url, max_bank_bytes=1000)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    assert cloud.asked("/bundles/") == 1
    assert files(tmp_path / "edge/banks") == set()


async def test_recipe_that_builds_another_bundle_is_not_trusted(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """The announced id decides: the bundle that has it is fetched instead."""
    wanted, other = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(replace(wanted, recipe_id=other.recipe_id, recipe_bytes=other.recipe_bytes))
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").bundle_id == wanted.bundle_id
    assert cloud.asked("/bundles/") == 1


async def test_new_bundle_swaps_while_a_request_is_in_flight(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """The request keeps the slot it started on; the next one gets the new bundle; the old slot closes when drained."""
    old, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(old)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        async with parts.slots.lease("router") as held:
            cloud.publish(new)
            parts.updater.poller.hurry()  # type: ignore[union-attr]
            await parts.updater.tick()
            assert (await ask(parts, "router"))[1] == f"adapter-{new.bundle_id}"
            assert held.revision.bundle_id == old.bundle_id
            assert not held.worker.is_closed
            assert f"{old.bundle_id}.Q8_0.gguf" in files(tmp_path / "edge/slots")
        await parts.slots.drained()
        assert held.worker.is_closed


async def test_unpublished_specialization_is_unloaded_and_its_files_deleted(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    gone, kept = cloud.make("gone", 1), cloud.make("kept", 2)
    cloud.publish(gone, kept)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        cloud.unpublish("gone")
        parts.updater.poller.hurry()  # type: ignore[union-attr]
        await parts.updater.tick()
        await parts.slots.drained()
        await parts.updater.tick()
        with pytest.raises(UnknownModelError):
            await ask(parts, "gone")
        assert (await ask(parts, "kept"))[1] == f"merged-{kept.bundle_id}"
        assert files(tmp_path / "edge/bundles") == {f"{kept.bundle_id}.safetensors"}
        assert files(tmp_path / "edge/adapters") == set()
        assert {name for name in files(tmp_path / "edge/slots") if not name.startswith("base")} == {
            f"{kept.bundle_id}.Q8_0.gguf"
        }
    state = json.loads((tmp_path / "edge/state.json").read_text())
    assert set(state["state"]["entries"]) == {"kept"}


async def test_restart_without_the_cloud_serves_what_served(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """Slots come up before anything is polled, merged ones and adapters alike, with the same answers."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
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
        assert parts.device.report().last_poll == "cloud_unreachable"
        assert (await ask(parts, "router"))[0] == adapter


async def test_corrupt_state_is_moved_aside_and_the_one_before_it_used(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    (tmp_path / "edge/state.json").write_bytes(b'{"format": 1, "state": {"cha')
    async with device(settings) as parts:
        assert "moved aside" in parts.device.report().trouble
        assert (await ask(parts, "router"))[1].endswith(wanted.bundle_id)
    assert any(name.startswith("state.json.corrupt-") for name in files(tmp_path / "edge"))


async def test_lost_state_is_rebuilt_from_channel_and_disk(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    """With both states unreadable the channel says what serves, and the disk has it: nothing is downloaded again."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
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


async def test_state_of_another_edge_model_is_dropped(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    cloud.publish(cloud.make("router"))
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
    path = tmp_path / "edge/state.json"
    path.write_text(path.read_text().replace(cloud.edge_model_digest, "f" * 64))
    async with device(settings) as parts:
        assert [model.state for model in parts.device.models()] == ["base"]


async def test_flipped_bit_is_found_and_the_last_good_bundle_serves_on(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """A corrupted transfer is refused by its digest, reported, and tried again later."""
    good, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_bank_bytes=0)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        cloud.publish(new)
        cloud.fail("/bundles/", change=lambda data: data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{good.bundle_id}"
        served = entry(parts, "router")
        assert served.failed_bundle_id == new.bundle_id
        assert "sha256" in served.message
        cloud.heal()
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{new.bundle_id}"
        assert entry(parts, "router").message == ""


async def test_truncated_bundle_is_resumed_where_it_was_cut(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    cloud.fail("/bundles/", cut_after=5_000, times=1)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_bank_bytes=0)
    async with device(settings) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    ranges = [headers.get("Range") for path, headers in cloud.requests if path.startswith("/bundles/")]
    assert ranges == [None, "bytes=5000-"]


Garble = Callable[[FakeCloud, Specialization], Specialization]


def with_nan(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    data = cloud.bundles[wanted.bundle_id]
    return cloud.keep(wanted.name, data[:-2] + np.float16("nan").tobytes(), cloud.recipes[wanted.recipe_id])


def of_unknown_version(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, b'"loragen.version":"1"', b'"loragen.version":"9"')


def for_another_base(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return replace(wanted, edge_model_digest="a" * 64)


def for_another_base_inside(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, cloud.edge_model_digest.encode(), b"a" * 64)


def of_another_generator_inside(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, wanted.generator_digest.encode(), b"b" * 64)


def named_like_the_base(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return replace(wanted, name="base")


def cut_short(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return cloud.keep(wanted.name, cloud.bundles[wanted.bundle_id][:-1000], cloud.recipes[wanted.recipe_id])


@pytest.mark.parametrize(
    ("garble", "code"),
    [
        (with_nan, "non_finite"),
        (of_unknown_version, "unsupported_format_version"),
        (for_another_base, "mismatch"),
        (for_another_base_inside, "mismatch"),
        (of_another_generator_inside, "mismatch"),
        (named_like_the_base, "mismatch"),
        (cut_short, "invalid_format"),
    ],
)
async def test_unfit_bundle_is_refused_once_and_serves_nobody(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path, garble: Garble, code: str
) -> None:
    """The same bytes would be as unfit again: they are not fetched a second time until the channel names others."""
    unfit = garble(cloud, cloud.make("router", 1))
    good = cloud.make("other", 2)
    cloud.publish(unfit, good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_bank_bytes=0)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        assert entry(parts, unfit.name).state == "failed"
        assert parts.updater.memory.state.failures[unfit.name].code == code
        assert (await ask(parts, "other"))[1] == f"adapter-{good.bundle_id}"
        assert (await ask(parts, "base"))[1] == "base"
        fetched = cloud.asked("/bundles/")
        clock.advance(LONG)
        await parts.updater.tick()
        assert cloud.asked("/bundles/") == fetched
        repaired = cloud.make("router", 3)
        cloud.unpublish(unfit.name)
        cloud.publish(repaired)
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{repaired.bundle_id}"


async def test_channel_with_a_path_for_a_name_is_refused_whole(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """Nothing of such a document is followed; what served serves on."""
    good = cloud.make("router", 1)
    cloud.publish(good)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
        await parts.updater.tick()
        cloud.publish(cloud.make("evil-name", 2))
        cloud.fail("/channels/", change=lambda data: data.replace(b"evil-name", b"../../etc"))
        clock.advance(LONG)
        await parts.updater.tick()
        assert parts.device.report().last_poll == "invalid_format"
        assert [model.id for model in parts.device.models()] == ["nano-edge", "router"]
        assert (await ask(parts, "router"))[1] == f"adapter-{good.bundle_id}"
    assert not (tmp_path / "etc").exists()


async def test_disk_full_while_merging_keeps_the_adapter_and_tries_again(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
        await parts.updater.tick()
        with full_disk(100_000):
            assert await parts.updater.merge_pending() == 1
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        assert "no space left" in entry(parts, "router").message
        assert not [name for name in files(tmp_path / "edge/slots") if wanted.bundle_id in name]
        assert await parts.updater.merge_pending() == 0
        clock.advance(LONG)
        assert await parts.updater.merge_pending() == 1
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
        assert entry(parts, "router").message == ""


async def test_disk_full_while_fetching_is_reported_and_tried_again(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
        with full_disk(8_000):
            await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
        assert parts.updater.memory.state.failures["router"].code == "output_not_written"
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"


async def test_delta_that_would_be_lost_stays_a_run_time_adapter(
    tiny_master: Path, tiny_digest: str, tmp_path: Path
) -> None:
    """A small delta on a master of four bits: it is not merged, not even after a restart, and says why."""
    quantized = tmp_path / "quantized.gguf"
    quantize_base(tiny_master, quantized, "Q4_0")
    (tmp_path / "cloud").mkdir()
    cloud = FakeCloud(tmp_path / "cloud", TINY_SHAPE, tiny_digest, scale=0.004)
    try:
        wanted = cloud.make("router")
        cloud.publish(wanted)
        clock = FakeClock()
        settings = make_settings(tmp_path / "edge", quantized, cloud.url, type="Q4_0")
        async with device(settings, clock) as parts:
            await parts.updater.tick()
            assert await parts.updater.merge_pending() == 1
            assert entry(parts, "router").state == "adapter"
            assert "kept as run-time adapter: survival of the delta" in entry(parts, "router").message
            clock.advance(LONG)
            assert await parts.updater.merge_pending() == 0
        async with device(settings, clock) as parts:
            assert await parts.updater.merge_pending() == 0
            assert "kept as run-time adapter" in entry(parts, "router").message
            assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
    finally:
        cloud.close()


async def test_master_from_elsewhere_is_admitted_only_by_name(
    cloud: FakeCloud, tiny_master: Path, tiny_digest: str, tmp_path: Path
) -> None:
    """A master that does not say which model it is serves as a base; a LoRA needs the operator to name its digest."""
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(tiny_master.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))  # noqa: ASYNC240
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "one", foreign, cloud.url)) as parts:
        await parts.updater.tick()
        assert (await ask(parts, "base"))[1] == "base"
        assert entry(parts, "router").state == "failed"
        assert "EDGE_ADMIT_MASTER_DIGEST" in entry(parts, "router").message
    admitted = make_settings(tmp_path / "two", foreign, cloud.url, admit_master_digest=tiny_digest)
    async with device(admitted) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
    other = make_settings(tmp_path / "three", foreign, cloud.url, admit_master_digest="a" * 64)
    async with device(other) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
    with pytest.raises(ConfigurationError, match="EDGE_ADMIT_MASTER_DIGEST"):
        async with device(make_settings(tmp_path / "four", tiny_master, None, admit_master_digest="a" * 64)):
            pass


async def test_rollback_brings_back_the_bundle_before_and_holds_the_newest(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    first, second, third = (cloud.make("router", seed) for seed in (1, 2, 3))
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    async with device(settings, clock) as parts:
        for wanted in (first, second):
            cloud.publish(wanted)
            clock.advance(LONG)
            await parts.updater.tick()
            await parts.updater.merge_pending()
        parts.disk.request_rollback("router")
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        assert second.bundle_id in entry(parts, "router").message
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        parts.disk.request_rollback("router")
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        cloud.publish(third)
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{third.bundle_id}"


async def test_changed_quantization_merges_again_while_the_old_slot_serves(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    async with device(make_settings(tmp_path / "edge", tiny_master, None, type="F16")) as parts:
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
        assert await parts.updater.merge_pending() == 1
        assert parts.slots.revisions()["router"].model.name == f"{wanted.bundle_id}.F16.gguf"
        await parts.slots.drained()
        await parts.updater.tick()
        assert f"{wanted.bundle_id}.Q8_0.gguf" not in files(tmp_path / "edge/slots")


async def test_damaged_slot_on_disk_falls_back_to_the_adapter_and_is_merged_again(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
    slot = tmp_path / f"edge/slots/{wanted.bundle_id}.Q8_0.gguf"
    slot.write_bytes(slot.read_bytes()[:-5_000])
    async with device(settings) as parts:
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"


async def test_damaged_base_is_made_again(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    async with device(settings) as parts:
        answer = await ask(parts, "base")
    (base,) = (tmp_path / "edge/slots").glob("base.*")
    base.write_bytes(base.read_bytes()[:10_000])
    async with device(settings) as parts:
        assert await ask(parts, "base") == answer


async def test_base_is_the_master_itself_when_it_cannot_be_quantized(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """A full disk does not keep the device from serving, and the reason shows."""
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
    with full_disk(50_000):
        async with device(settings) as parts:
            assert (await ask(parts, "base"))[1] == "base"
            assert "no space left" in parts.device.models()[0].message
            assert parts.device.not_ready_reason() is None


async def test_one_bundle_under_two_names_is_merged_once(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    wanted = cloud.make("first")
    cloud.publish(wanted, replace(wanted, name="second"))
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        assert entry(parts, "first").state == entry(parts, "second").state == "merged"
        assert entry(parts, "first").created == entry(parts, "second").created
        cloud.unpublish("first")
        parts.updater.poller.hurry()  # type: ignore[union-attr]
        await parts.updater.tick()
        assert (await ask(parts, "second"))[1] == f"merged-{wanted.bundle_id}"
        assert f"{wanted.bundle_id}.Q8_0.gguf" in files(tmp_path / "edge/slots")


async def test_more_specializations_than_fit_in_memory_are_loaded_on_demand(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    wanted = [cloud.make(f"task-{seed}", seed) for seed in range(3)]
    cloud.publish(*wanted)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_resident=2)
    async with device(settings) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        for each in (*wanted, *wanted):
            assert (await ask(parts, each.name))[1] == f"merged-{each.bundle_id}"
            assert sum(parts.slots.is_resident(name) for name in parts.slots.revisions()) <= 2


async def test_slot_that_vanished_is_repaired_after_a_request_met_it(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """The request gets a clear error, the next tick brings the specialization back."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    cloud.publish(first, second)
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_resident=1)
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
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url)) as parts:
        (tmp_path / "edge/state.json.bak.tmp").mkdir()
        (tmp_path / "edge/state.json").write_text("{}")
        await parts.updater.tick()
        assert "cannot be written" in parts.device.report().trouble
        assert (await ask(parts, "router"))[1].startswith("adapter-")


async def test_channel_that_is_not_there_deletes_nothing(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
        await parts.updater.tick()
        cloud.channel = None
        clock.advance(LONG)
        await parts.updater.tick()
        assert parts.device.report().last_poll == "channel_missing"
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"


async def test_failure_of_a_newer_bundle_outlives_the_merge_of_the_one_that_serves(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    good = cloud.make("router", 1)
    cloud.publish(good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url, max_bank_bytes=0)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        bad = with_nan(cloud, cloud.make("router", 2))
        cloud.publish(bad)
        clock.advance(LONG)
        await parts.updater.tick()
        assert await parts.updater.merge_pending() == 1
        served = entry(parts, "router")
        assert (served.state, served.bundle_id, served.failed_bundle_id) == ("merged", good.bundle_id, bad.bundle_id)
        fetched = cloud.asked("/bundles/")
        clock.advance(LONG)
        await parts.updater.tick()
        assert cloud.asked("/bundles/") == fetched


async def test_bundle_that_comes_back_is_not_merged_again(cloud: FakeCloud, tiny_master: Path, tmp_path: Path) -> None:
    """Its merged file is still there, kept for a rollback."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
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


async def test_bundle_whose_files_are_lost_gives_way_to_the_one_before(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path
) -> None:
    """At a restart without the cloud; with the cloud, the newest is brought again."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_master, cloud.url)
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


@pytest.mark.parametrize("is_twin", [False, True])
async def test_bundle_that_is_replaced_while_it_is_merged_never_serves(
    cloud: FakeCloud, tiny_master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_twin: bool
) -> None:
    """The newer bundle arrives while the old one's slot is being checked; the old one is not put back."""
    old, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(old)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_master, cloud.url), clock) as parts:
        if is_twin:
            cloud.publish(replace(old, name="a-twin"))
            await parts.updater.tick()
            monkeypatch.setattr(parts.updater.memory, "is_due", lambda name: name != "router")
            await parts.updater.merge_pending()
            monkeypatch.undo()
        else:
            await parts.updater.tick()

        async def slow_canary(slot: Slot) -> None:
            monkeypatch.undo()
            cloud.publish(new)
            clock.advance(LONG)
            await parts.updater.tick()

        monkeypatch.setattr("edge_runtime.updates.installer.verify_answers", slow_canary)
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{new.bundle_id}"
        assert entry(parts, "router").bundle_id == new.bundle_id
