"""What a device's owner commands, such as a rollback or a pin, is done at once, holds, and outlives a restart."""

import asyncio
from pathlib import Path

import pytest

from edge_runtime.errors import UpdateError
from edge_runtime.updates.state import Command
from edge_runtime.updates.trial import Candidate, TrialReport
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import (
    LONG,
    FakeClock,
    FakeLoader,
    TrustingCanary,
    ask,
    command,
    device,
    entry,
    eventually,
    make_settings,
)


async def test_rollback_brings_back_the_bundle_before_and_does_not_install_the_newest_again(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    first, second, third = (cloud.make("router", seed) for seed in (1, 2, 3))
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, clock) as parts:
        for wanted in (first, second):
            cloud.publish(wanted)
            clock.advance(LONG)
            await parts.updater.tick()
            await parts.updater.merge_pending()
        assert first.bundle_id in await command(parts, "rollback")
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        assert second.bundle_id in entry(parts, "router").message
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        with pytest.raises(UpdateError, match="nothing to roll back to"):
            await command(parts, "rollback")
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
    async with device(settings, clock) as parts:
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        cloud.publish(third)
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{third.bundle_id}"


async def test_pinned_specialization_stays_until_it_is_unpinned(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Over a newer bundle, a restart and the end of its publication; what waits in the channel comes afterwards."""
    first, second, third = (cloud.make("router", seed) for seed in (1, 2, 3))
    clock = FakeClock()
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with device(settings, clock, FakeLoader()) as parts:
        cloud.publish(first)
        await parts.updater.tick()
        assert first.bundle_id in await command(parts, "pin")
        assert entry(parts, "router").pinned
        cloud.publish(second)
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{first.bundle_id}"
    async with device(settings, clock, FakeLoader()) as parts:
        cloud.unpublish("router")
        clock.advance(LONG)
        await parts.updater.tick()
        assert (await ask(parts, "router"))[1] == f"adapter-{first.bundle_id}"
        cloud.publish(third)
        clock.advance(LONG)
        await command(parts, "unpin")
        assert (await ask(parts, "router"))[1] == f"adapter-{third.bundle_id}"


class HangingCanary(TrustingCanary):
    """Trusts the first candidate; the trial of another does not end."""

    async def verify(self, candidate: Candidate) -> TrialReport:
        report = await super().verify(candidate)
        if len(self.tried) > 1:
            await asyncio.Event().wait()
        return report


async def test_command_does_not_wait_for_the_canary(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """It is carried out before what is being tried serves: a pin keeps what the owner sees."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    clock, canary = FakeClock(), HangingCanary()
    async with device(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock, FakeLoader(), canary) as parts:
        cloud.publish(first)
        await parts.updater.tick()
        cloud.publish(second)
        clock.advance(LONG)
        ticking = asyncio.create_task(parts.updater.tick())
        await eventually(lambda: len(canary.tried) == 2)
        pinned = parts.updater.command(Command("pin", "router"))
        with pytest.raises(asyncio.CancelledError):
            await ticking
        await parts.updater.tick()
        assert first.bundle_id in await pinned
        assert (await ask(parts, "router"))[1] == f"adapter-{first.bundle_id}"
        assert not entry(parts, "router").failed_bundle_id
