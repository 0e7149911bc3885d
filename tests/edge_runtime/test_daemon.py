"""The loop around the tick, with time that moves only when the daemon waits."""

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from edge_runtime.bootstrap import Parts, open_parts
from edge_runtime.commands import send
from edge_runtime.daemon import UNFORESEEN_SECONDS, Daemon
from edge_runtime.errors import ModelLoadError, UpdateError
from edge_runtime.updates.state import Command
from loragen.device_answers import DeviceStatus
from tests.edge_runtime.fake_cloud import FakeCloud
from tests.edge_runtime.fakes import FakeClock, FakeEngine, FakeLoader, TrustingCanary, ask, eventually, make_settings


class FakeLink:
    """A cloud that says when to poll, and collects reports."""

    def __init__(self) -> None:
        self.reports: list[DeviceStatus] = []
        self.changed = asyncio.Event()
        self.deaf = False

    async def watch(self, known_version: int) -> bool:
        if self.deaf:
            return False
        await self.changed.wait()
        self.changed.clear()
        return True

    async def report(self, report: DeviceStatus) -> None:
        self.reports.append(report)

    async def close(self) -> None:
        pass


class StandingClock(FakeClock):
    """Waits only for events: time stands still, so that only an event wakes the daemon."""

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        await event.wait()
        return True


def state(parts: Parts, name: str) -> str:
    return next((model.state for model in parts.device.models() if model.id == name), "absent")


async def test_daemon_follows_the_channel_by_itself(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """A publication is polled, served and merged; at the end the daemon stops by itself."""
    clock = FakeClock()
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=clock) as parts:
        running = asyncio.create_task(parts.daemon.run())
        await eventually(lambda: parts.updater.is_restored)
        wanted = cloud.make("router")
        cloud.publish(wanted)
        await eventually(lambda: state(parts, "router") == "merged")
        assert (await ask(parts, "router"))[1] == f"merged-{wanted.bundle_id}"
        parts.daemon.stop()
        await running


async def test_change_of_the_channel_is_polled_at_once_and_reports_are_sent(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with open_parts(settings, clock=StandingClock()) as parts:
        link = FakeLink()
        daemon = Daemon(parts.updater, parts.device, parts.disk, StandingClock(), link)
        running = asyncio.create_task(daemon.run())
        await eventually(lambda: link.reports)
        assert link.reports[-1].last_poll == "channel_missing"
        cloud.publish(cloud.make("router"))
        link.changed.set()
        await eventually(lambda: any(m.state == "merged" for m in link.reports[-1].models))
        daemon.stop()
        await running


class PushingLink(FakeLink):
    """A cloud that pushes once, and whose device then listens from the version that it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[int] = []

    async def watch(self, known_version: int) -> bool:
        self.known.append(known_version)
        return await super().watch(known_version)


async def test_device_listens_from_the_version_it_heard_even_when_it_does_not_follow_it(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """A channel that went back is no change any more once it was heard."""
    cloud.publish(cloud.make("router"))
    older = cloud.channel
    cloud.publish(cloud.make("other", 1))
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url)
    async with open_parts(settings, FakeLoader(), FakeClock(), TrustingCanary()) as parts:
        await parts.updater.restore()
        await parts.updater.tick()
    cloud.channel = older
    async with open_parts(settings, FakeLoader(), StandingClock(), TrustingCanary()) as parts:
        link, clock = PushingLink(), FakeClock()
        daemon = Daemon(parts.updater, parts.device, parts.disk, clock, link, watch_spread_seconds=5.0)
        running = asyncio.create_task(daemon.run())
        await eventually(lambda: link.reports)
        link.changed.set()
        await eventually(lambda: len(link.known) >= 2)
        assert link.known[-1] == 1
        assert link.reports[-1].channel_version == 2
        daemon.stop()
        await running


async def test_deaf_link_does_not_make_the_daemon_poll(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """Listening that fails is tried again after a pause, and is no reason to ask the cloud more often."""
    clock = FakeClock()
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=clock) as parts:
        link = FakeLink()
        link.deaf = True
        daemon = Daemon(parts.updater, parts.device, parts.disk, clock, link)
        started = clock.now
        running = asyncio.create_task(daemon.run())
        await eventually(lambda: cloud.asked("/channels/") >= 4)
        daemon.stop()
        await running
        assert clock.now - started >= 3 * 9


class BrokenLink(FakeLink):
    """A link that fails in ways nobody foresaw."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    async def watch(self, known_version: int) -> bool:
        self.calls += 1
        raise RuntimeError("a bug in watching")

    async def report(self, report: DeviceStatus) -> None:
        raise RuntimeError("a bug in reporting")


async def test_unforeseen_failure_of_the_link_ends_nothing(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Listening and reporting are tried again, and the end is as orderly as ever."""
    clock, link = FakeClock(), BrokenLink()
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=clock) as parts:
        daemon = Daemon(parts.updater, parts.device, parts.disk, clock, link)
        running = asyncio.create_task(daemon.run())
        await eventually(lambda: link.calls >= 2 and cloud.asked("/channels/") >= 2)
        daemon.stop()
        await running
    logged = capsys.readouterr().out
    assert "a bug in watching" in logged
    assert "a bug in reporting" in logged


async def test_watching_that_ended_with_a_failure_does_not_spoil_the_end(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=clock) as parts:
        daemon = Daemon(parts.updater, parts.device, parts.disk, clock, FakeLink())

        async def failing() -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(daemon, "_watch", failing)
        running = asyncio.create_task(daemon.run())
        await eventually(lambda: cloud.asked("/channels/") >= 1)
        daemon.stop()
        await running


async def test_unforeseen_failure_of_a_tick_ends_nothing(
    cloud: FakeCloud,
    tiny_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud.publish(cloud.make("router"))
    clock = FakeClock()
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=clock) as parts:
        tick, failures = parts.updater.tick, [RuntimeError("a bug"), UpdateError("foreseen")]

        async def failing() -> float:
            if failures:
                raise failures.pop()
            return await tick()

        monkeypatch.setattr(parts.updater, "tick", failing)
        started = clock.now
        running = asyncio.create_task(parts.daemon.run())
        await eventually(lambda: state(parts, "router") == "merged")
        parts.daemon.stop()
        await running
        assert clock.now - started >= 2 * UNFORESEEN_SECONDS
        assert "a bug" in capsys.readouterr().out


async def test_command_is_carried_out_between_two_polls(cloud: FakeCloud, tiny_base: Path, tmp_path: Path) -> None:
    """It comes over the socket, and does not wait for the next poll, an hour later."""
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, poll_interval_seconds=3_600)
    clock = FakeClock()
    async with open_parts(settings, clock=clock) as parts:
        await parts.updater.restore()
        for wanted in (first, second):
            cloud.publish(wanted)
            parts.updater.poller.poll_now()  # type: ignore[union-attr]
            await parts.updater.tick()
            await parts.updater.merge_pending()
    async with open_parts(settings, clock=clock) as parts:
        before = cloud.asked("/channels/")
        running = asyncio.create_task(parts.daemon.run())
        await eventually(lambda: clock.waits and cloud.asked("/channels/") > before)
        polls = cloud.asked("/channels/")
        answer = await asyncio.to_thread(send, parts.disk.socket, Command("rollback", "router"))
        assert first.bundle_id in answer
        assert cloud.asked("/channels/") - polls <= 1
        assert (await ask(parts, "router"))[1] == f"merged-{first.bundle_id}"
        parts.daemon.stop()
        await running


async def test_stopping_abandons_the_merge_and_leaves_nothing_half_written(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    cloud.publish(cloud.make("router"))
    async with open_parts(make_settings(tmp_path / "edge", tiny_base, cloud.url), clock=FakeClock()) as parts:
        await parts.updater.restore()
        await parts.updater.tick()
        parts.updater.stop()
        assert await parts.updater.merge_pending() == 0
        assert state(parts, "router") == "adapter"
    assert not list((tmp_path / "edge").rglob("*.partial"))


async def test_stopping_while_the_base_is_quantized_ends_in_order(tiny_base: Path, tmp_path: Path) -> None:
    # Just written, so that it serves once it is quantized.
    base = tmp_path / "base.gguf"
    await asyncio.to_thread(shutil.copy, tiny_base, base)
    async with open_parts(make_settings(tmp_path / "edge", base, None), clock=FakeClock()) as parts:
        parts.daemon.stop()
        await parts.daemon.run()
        assert parts.slots.revisions() == {}
    assert not list((tmp_path / "edge/slots").iterdir())


async def test_slow_cloud_keeps_neither_a_rollback_nor_the_end_waiting(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    first, second = cloud.make("router", 1), cloud.make("router", 2)
    settings = make_settings(tmp_path / "edge", tiny_base, cloud.url, cloud_timeout_seconds=100)
    clock = FakeClock()
    async with open_parts(settings, FakeLoader(), clock, TrustingCanary()) as parts:
        await parts.updater.restore()
        for wanted in (first, second):
            cloud.publish(wanted)
            parts.updater.poller.poll_now()  # type: ignore[union-attr]
            await parts.updater.tick()
    cloud.fail("/channels/", delay_seconds=100)
    asked = cloud.asked("/channels/")
    async with open_parts(settings, FakeLoader(), clock, TrustingCanary()) as parts:
        running = asyncio.create_task(parts.daemon.run())
        await eventually(lambda: cloud.asked("/channels/") > asked)
        await asyncio.to_thread(send, parts.disk.socket, Command("rollback", "router"))
        assert parts.updater.state_store.entries["router"].rolled_back_from == second.bundle_id
        await eventually(lambda: cloud.asked("/channels/") > asked + 1)
        stopped = time.monotonic()
        parts.daemon.stop()
        await running
        assert time.monotonic() - stopped < 20


async def test_slot_that_a_request_finds_broken_is_repaired_at_once(
    cloud: FakeCloud, tiny_base: Path, tmp_path: Path
) -> None:
    """Nothing else would wake a device without a cloud within the hour."""
    wanted = cloud.make("router")
    cloud.publish(wanted)
    async with open_parts(
        make_settings(tmp_path / "edge", tiny_base, cloud.url), FakeLoader(), FakeClock(), TrustingCanary()
    ) as parts:
        await parts.updater.restore()
        await parts.updater.tick()
        await parts.updater.merge_pending()
    async with open_parts(
        make_settings(tmp_path / "edge", tiny_base, None), FakeLoader(), StandingClock(), TrustingCanary()
    ) as parts:
        running = asyncio.create_task(parts.daemon.run())
        await eventually(lambda: parts.updater.is_restored)
        slot = parts.slots.revisions()["router"]
        parts.slots.register(slot)
        slot.model.unlink()
        with pytest.raises(ModelLoadError):
            await ask(parts, "router")
        await eventually(lambda: parts.slots.revisions()["router"] != slot)
        assert (await ask(parts, "router"))[1].endswith(wanted.bundle_id)
        parts.daemon.stop()
        await running


class RefusingLoader(FakeLoader):
    """A llama.cpp that refuses every file."""

    def load(self, model: Path, adapter: Path | None) -> FakeEngine:
        raise ModelLoadError(f"{model.name} is refused")


async def test_base_that_cannot_serve_ends_the_daemon_with_its_reason(tiny_base: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "edge", tiny_base, None)
    async with open_parts(settings, RefusingLoader(), FakeClock()) as parts:
        with pytest.raises(ModelLoadError, match="refused"):
            await parts.daemon.run()
