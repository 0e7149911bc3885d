"""A device hears an older channel than it has seen: a fault, until it moves on or the owner accepts it."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge_runtime.errors import UpdateError
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import LONG, FakeClock, FakeLoader, ask, command, device, files, make_settings


async def test_channel_of_a_restored_database_deletes_nothing_until_it_is_accepted(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """It does not list what came since. Over a restart the device still knows better, and says so."""
    first, second = cloud.make("first", 1), cloud.make("second", 2)
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    cloud.publish(first)
    older = cloud.channel
    cloud.publish(second)
    async with device(settings, clock, FakeLoader()) as parts:
        await parts.updater.tick()
    cloud.channel = older
    async with device(settings, clock, FakeLoader()) as parts:
        for _ in range(2):
            clock.advance(LONG)
            await parts.updater.tick()
        assert (await ask(parts, "second"))[1] == f"adapter-{second.bundle_id}"
        assert f"{second.bundle_id}.safetensors" in files(tmp_path / "edge/bundles")
        status = parts.device.status()
        assert (status.last_poll, status.channel_version) == ("channel_went_back", 2)
        assert "expected version 2 or newer, the cloud sends 1" in status.last_poll_message
        with pytest.raises(UpdateError, match="follows the channel 'default'"):
            await command(parts, "accept", "other")
        assert "is followed" in await command(parts, "accept", "default")
        assert (parts.device.status().last_poll, parts.device.status().channel_version) == ("ok", 1)
        assert [model.id for model in parts.device.models()] == ["tiny-edge", "first"]


async def test_channel_that_passed_the_newest_version_is_followed_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    first = cloud.make("first", 1)
    clock = FakeClock()
    cloud.publish(first)
    assert cloud.channel is not None
    cloud.channel = replace(cloud.channel, version=9)
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, FakeLoader()) as parts:
        await parts.updater.tick()
        for version, code in ((8, "channel_went_back"), (10, "ok")):
            cloud.channel = replace(cloud.channel, version=version, specializations=())
            clock.advance(LONG)
            await parts.updater.tick()
            assert parts.device.status().last_poll == code
        assert [model.id for model in parts.device.models()] == ["tiny-edge"]
