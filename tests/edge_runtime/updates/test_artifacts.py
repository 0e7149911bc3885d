"""Bundles come by the shortest way: from disk, built from a recipe, or downloaded."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.free_space import SPARE_BYTES
from edge_runtime.gguf.base_gguf import BaseGguf
from loragen.contract.digest import sha256_hex
from tests.adapters import random_adapter
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, FakeLoader, device, entry, files, make_settings
from tests.full_disk import read_only_disk


async def test_recipes_share_one_bank(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Two specializations cost two recipes and one bank, no bundle, and give the bundles that were announced."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    cloud.publish(first, second)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
    assert cloud.asked("/recipes/") == 2
    assert cloud.asked("/generators/") == 1
    assert cloud.asked("/bundles/") == 0
    for wanted in (first, second):
        assert sha256_hex((tmp_path / f"edge/bundles/{wanted.bundle_id}.safetensors").read_bytes()) == wanted.bundle_id


@pytest.mark.parametrize("prefix", ["/generators/", "/recipes/"])
async def test_bundle_is_fetched_when_recipe_or_bank_cannot_be_had(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, prefix: str
) -> None:
    cloud.publish(cloud.make("router"))
    cloud.fail(prefix, status=404)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    assert cloud.asked("/bundles/") == 1


async def test_own_lora_of_a_user_is_fetched_attached_and_merged(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """It has no recipe; attention is adapted too."""
    with BaseGguf(tiny_base) as base_gguf:
        linears = base_gguf.linears
    cloud.publish(cloud.import_adapter("mine", random_adapter(linears), linears), cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "mine").state == "adapter"
        assert await parts.updater.merge_pending() == 2
        assert entry(parts, "mine").state == "merged", entry(parts, "mine").message
    assert (cloud.asked("/recipes/"), cloud.asked("/bundles/")) == (1, 1)


async def test_bank_over_the_limit_is_not_fetched(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url, max_bank_bytes=1000)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    assert cloud.asked("/bundles/") == 1
    assert files(tmp_path / "edge/banks") == set()


async def test_bank_that_does_not_fit_the_disk_leaves_its_place_to_bundles(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a start before brought of it fills the disk: it goes, and the state can be written again too."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    cloud.publish(first, second)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, loader=FakeLoader()):
        pass
    partial = tmp_path / f"edge/banks/{cloud.bank.digest}.part"
    partial.write_bytes(cloud.bank_bytes[:-1_000])
    room = 2 * first.bundle_bytes + SPARE_BYTES + 1_000
    monkeypatch.setattr("edge_runtime.cloud.fetcher.free_bytes", lambda _: 0 if partial.exists() else room)
    clock = FakeClock()
    async with device(settings, clock, FakeLoader()) as parts:
        await parts.updater.tick()
        assert {entry(parts, name).state for name in ("first", "second")} == {"adapter"}
        assert files(tmp_path / "edge/banks") == set()
        assert cloud.asked("/bundles/") == 2
        assert parts.device.status().problem == ""


async def test_nothing_is_fetched_that_would_fill_the_disk(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    free = [wanted.bundle_bytes + 1_000]
    monkeypatch.setattr("edge_runtime.cloud.fetcher.free_bytes", lambda _: free[0])
    clock = FakeClock()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, FakeLoader()) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "failed"
        assert "free" in entry(parts, "router").message
        assert not [*(tmp_path / "edge").rglob("*.part")]
        free[0] = 10**9
        clock.advance(LONG)
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"


async def test_damaged_bank_on_a_disk_that_became_read_only_is_gone_around(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """It cannot be deleted; what is said is the reason why nothing comes in its place."""
    cloud.publish(cloud.make("router"))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        (tmp_path / f"edge/banks/{cloud.bank.digest}.safetensors").write_bytes(b"damaged")
        with read_only_disk():
            await parts.updater.tick()
        assert parts.updater.state_store.state.failures["router"].code == "output_not_written"
        assert cloud.asked("/bundles/") == 1


async def test_recipe_that_builds_another_bundle_is_not_trusted(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """The announced id decides: the bundle that has it is fetched instead."""
    wanted, other = cloud.make("router", 1), cloud.make("router", 2)
    cloud.publish(replace(wanted, recipe=other.recipe))
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url)) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").bundle_id == wanted.bundle_id
    assert cloud.asked("/bundles/") == 1


async def test_bank_that_cannot_be_read_is_gone_around(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    wanted = cloud.make("router")
    cloud.publish(wanted)
    (tmp_path / f"edge/banks/{cloud.bank.digest}.safetensors").mkdir(parents=True)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), loader=FakeLoader()) as parts:
        await parts.updater.tick()
        assert entry(parts, "router").state == "adapter"
    assert cloud.asked("/bundles/") == 1
