"""A device with a real model, against what a cloud, a disk or a model can do wrong: the last good bundle serves on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import quantize_base
from loragen.contract.channel import Specialization
from loragen.web.errors import ConfigurationError
from tests.edge_runtime.conftest import TINY_SHAPE
from tests.edge_runtime.contracts import DESKS
from tests.edge_runtime.fake_cloud import FakeCloud, recipe_of
from tests.edge_runtime.fakes import LONG, FakeClock, FakeLoader, ask, device, entry, files, make_settings
from tests.full_disk import full_disk


def garbled(cloud: FakeCloud, wanted: Specialization, old: bytes, new: bytes) -> Specialization:
    """The specialization with other bytes in its bundle, announced under their own, honest digest."""
    data = cloud.bundles[wanted.bundle_id]
    assert old in data
    assert len(old) == len(new)
    return cloud.keep(wanted.name, data.replace(old, new, 1), cloud.recipes[recipe_of(wanted).id])


async def test_flipped_bit_is_found_and_the_last_good_bundle_serves_on(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """A corrupted transfer is refused by its digest, reported, and tried again later."""
    good, new = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_bank_bytes=0)
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


async def test_truncated_bundle_is_resumed_where_it_was_cut(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    cloud.fail("/bundles/", cut_after=5_000, times=1)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_bank_bytes=0)
    async with device(settings) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    ranges = [headers.get("Range") for path, headers in cloud.requests if path.startswith("/bundles/")]
    assert ranges == [None, "bytes=5000-"]


Garble = Callable[[FakeCloud, Specialization], Specialization]


def with_nan(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    data = cloud.bundles[wanted.bundle_id]
    return cloud.keep(wanted.name, data[:-2] + np.float16("nan").tobytes(), cloud.recipes[recipe_of(wanted).id])


def of_unknown_version(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, b'"loragen.version":"1"', b'"loragen.version":"9"')


def for_another_base(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return replace(wanted, edge_model_digest="a" * 64)


def for_another_base_inside(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, cloud.edge_model_digest.encode(), b"a" * 64)


def of_another_generator_inside(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, wanted, recipe_of(wanted).generator_digest.encode(), b"b" * 64)


def named_like_the_base(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return replace(wanted, name="base")


def cut_short(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return cloud.keep(wanted.name, cloud.bundles[wanted.bundle_id][:-1000], cloud.recipes[recipe_of(wanted).id])


def with_a_code_twice(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    return garbled(cloud, cloud.make(wanted.name, answer=DESKS), b"[65,66,67]", b"[65,66,66]")


def with_a_code_that_is_no_token(cloud: FakeCloud, wanted: Specialization) -> Specialization:
    """The vocabulary has 600."""
    return garbled(cloud, cloud.make(wanted.name, answer=DESKS), b"[65,66,67]", b"[65,6,600]")


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
        (with_a_code_twice, "invalid_format"),
        (with_a_code_that_is_no_token, "answer_contract_invalid"),
    ],
)
async def test_unfit_bundle_is_refused_once_and_serves_nobody(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, garble: Garble, code: str
) -> None:
    """The same bytes would be as unfit again: they are not fetched a second time until the channel names others."""
    unfit = garble(cloud, cloud.make("router", 1))
    good = cloud.make("other", 2)
    cloud.publish(unfit, good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_bank_bytes=0)
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        assert entry(parts, unfit.name).state == "failed"
        failure = parts.updater.state_store.state.failures[unfit.name]
        assert (failure.code, failure.attempts, failure.permanent) == (code, 1, True)
        assert (await ask(parts, "other"))[1] == f"adapter-{good.bundle_id}"
        assert (await ask(parts, "base"))[1] == "base"
        fetched = cloud.asked("/bundles/")
        clock.advance(LONG)
        await parts.updater.tick()
        assert cloud.asked("/bundles/") == fetched
        assert parts.updater.state_store.state.failures[unfit.name] == failure
        repaired = cloud.make("router", 3)
        cloud.unpublish(unfit.name)
        cloud.publish(repaired)
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{repaired.bundle_id}"


async def test_channel_with_a_path_for_a_name_is_refused_whole(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Nothing of such a document is followed; what served serves on."""
    good = cloud.make("router", 1)
    cloud.publish(good)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        await parts.updater.tick()
        cloud.publish(cloud.make("evil-name", 2))
        cloud.fail("/channels/", change=lambda data: data.replace(b"evil-name", b"../../etc"))
        clock.advance(LONG)
        await parts.updater.tick()
        assert parts.device.status().last_poll == "invalid_format"
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "router"]
        assert (await ask(parts, "router"))[1] == f"adapter-{good.bundle_id}"
    assert not (tmp_path / "etc").exists()


async def test_disk_full_while_merging_keeps_the_adapter_and_tries_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        await parts.updater.tick()
        with full_disk(100_000):
            assert await parts.updater.merge_pending() == 1
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
        assert "no space left" in entry(parts, "router").message
        assert not [name for name in files(tmp_path / "edge/slots") if wanted.bundle_id in name]
        assert await parts.updater.merge_pending() == 0
        first_wait = parts.updater.state_store.due_in()
        clock.advance(first_wait)
        with full_disk(100_000):
            assert await parts.updater.merge_pending() == 1
        # The draws are from the upper half: the second wait is longer than the first, whatever they were.
        assert parts.updater.state_store.state.failures["router"].attempts == 2
        assert parts.updater.state_store.due_in() > first_wait
        clock.advance(LONG)
        assert await parts.updater.merge_pending() == 1
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
        assert entry(parts, "router").message == ""
        assert parts.updater.state_store.state.failures == {}


async def test_disk_full_while_fetching_is_reported_and_tried_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock) as parts:
        with full_disk(8_000):
            await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
        assert parts.updater.state_store.state.failures["router"].code == "disk_full"
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"


async def test_delta_that_would_be_lost_stays_a_run_time_adapter(
    tiny_base: Path, tiny_digest: str, tmp_path: Path
) -> None:
    """A small delta on a base GGUF of four bits: it is not merged, once after each start, and says why."""
    quantized = tmp_path / "quantized.gguf"
    quantize_base(tiny_base, quantized, Quantization.Q4_0)
    (tmp_path / "cloud").mkdir()
    cloud = FakeCloud(tmp_path / "cloud", TINY_SHAPE, tiny_digest, scale=0.004)
    try:
        wanted = cloud.make("router")
        cloud.publish(wanted)
        clock = FakeClock()
        settings = make_settings(tmp_path / "edge", quantized, cloud.url, quantization="Q4_0")
        async with device(settings, clock) as parts:
            await parts.updater.tick()
            assert await parts.updater.merge_pending() == 1
            assert entry(parts, "router").state == "adapter"
            assert "stays a run-time adapter: retained delta" in entry(parts, "router").message
            clock.advance(LONG)
            assert await parts.updater.merge_pending() == 0
        async with device(settings, clock) as parts:
            assert await parts.updater.merge_pending() == 1
            assert await parts.updater.merge_pending() == 0
            assert "stays a run-time adapter" in entry(parts, "router").message
            assert (await ask(parts, "router"))[1] == f"adapter-{wanted.bundle_id}"
    finally:
        cloud.close()


async def test_base_from_elsewhere_is_admitted_only_by_name(
    cloud: FakeCloud, tiny_base: Path, tiny_digest: str, tmp_path: Path
) -> None:
    """A base GGUF from elsewhere serves; a LoRA for the model it was made of needs that digest from the operator."""
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(tiny_base.read_bytes().replace(b"loragen.edge_model.", b"another.edge_model."))  # noqa: ASYNC240
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with device(make_settings(tmp_path / "one", foreign, cloud.url)) as parts:
        await parts.updater.tick()
        assert (await ask(parts, "base"))[1] == "base"
        assert entry(parts, "router").state == "failed"
        assert "LORAGEN_EDGE_ADMIT_BASE_DIGEST" in entry(parts, "router").message
    admitted = make_settings(tmp_path / "two", foreign, cloud.url, admit_base_digest=tiny_digest)
    async with device(admitted) as parts:
        await parts.updater.tick()
        await parts.updater.merge_pending()
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
    other = make_settings(tmp_path / "three", foreign, cloud.url, admit_base_digest="a" * 64)
    async with device(other) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_ADMIT_BASE_DIGEST"):
        async with device(make_settings(tmp_path / "four", tiny_base, None, admit_base_digest="a" * 64)):
            pass


async def test_failure_of_a_newer_bundle_outlives_the_merge_of_the_one_that_serves(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    good = cloud.make("router", 1)
    cloud.publish(good)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, max_bank_bytes=0)
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


async def test_unforeseen_failure_is_of_one_specialization(
    cloud: FakeCloud,
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cloud.publish(cloud.make("cursed", 1), cloud.make("other", 2))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:

        def cursed(specialization: Specialization, *_: object) -> None:
            if specialization.name == "cursed":
                raise RuntimeError("a bug")

        monkeypatch.setattr("edge_runtime.updates.updater.verify_wanted", cursed)
        await parts.updater.tick()
        assert entry(parts, "other").state == "adapter"
        assert parts.updater.state_store.state.failures["cursed"].code == "internal_error"
        assert "a bug" in capsys.readouterr().out
