"""Work that fails is logged and done again."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from cloud_service.bootstrap import open_cloud
from cloud_service.errors import StoreUnavailableError
from cloud_service.upkeep import repeat
from tests.cloud_service.clouds import eventually, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.store_backends import RedisBackend


async def _logged(fail: Callable[[int], None], times: int) -> list[tuple[str, int]]:
    """What is logged while work is done so many times, and the failures that each line tells of."""
    done: list[int] = []

    async def work() -> None:
        done.append(1)
        fail(len(done))

    with capture_logs() as logged:
        task = asyncio.create_task(repeat("rollouts", 0.001, work))
        await eventually(lambda: len(done) >= times)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return [(line["event"], line["failures"]) for line in logged]


async def test_work_goes_on_after_failures_of_every_kind() -> None:
    def fail(time: int) -> None:
        if time == 1:
            raise StoreUnavailableError("away")
        if time == 2:
            raise ValueError("unforeseen")

    assert await _logged(fail, 4) == [("upkeep_failed", 1), ("upkeep_crashed", 2), ("upkeep_recovered", 2)]


async def test_an_outage_is_a_line_when_it_begins_and_one_when_it_ends() -> None:
    def fail(time: int) -> None:
        if time < 50:
            raise StoreUnavailableError("away")

    assert await _logged(fail, 60) == [("upkeep_failed", 1), ("upkeep_recovered", 49)]


async def test_work_that_fails_every_other_time_does_not_fill_the_log() -> None:
    def fail(time: int) -> None:
        if time % 2:
            raise StoreUnavailableError("away")

    assert await _logged(fail, 60) == [("upkeep_failed", 1), ("upkeep_recovered", 1)]


async def test_an_outage_that_lasts_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.upkeep._REMIND_SECONDS", 0.02)

    def fail(time: int) -> None:
        raise StoreUnavailableError("away")

    logged = await _logged(fail, 100)
    assert 2 < len(logged) < 50
    assert {event for event, _ in logged} == {"upkeep_failed"}


async def test_service_whose_store_is_away_logs_little(redis: RedisBackend, generator: FakeGenerator) -> None:
    await redis.open()
    settings = settings_for(redis.directory, store_url=redis.url, watch_interval_seconds=0.02)
    async with open_cloud(settings, [generator]) as cloud:
        async with asyncio.timeout(10):
            watches = [cloud.channels.watch(f"channel-{number}", 0) for number in range(20)]
            waiting = [asyncio.create_task(anext(watch)) for watch in watches]
            with capture_logs() as logged:  # before the end of the server: what fails while it ends is logged once
                await redis.kill()
                await asyncio.sleep(1.5)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
    works = [line["work"] for line in logged if line["event"] == "upkeep_failed"]
    assert "rollouts" in works
    assert len(works) == len(set(works))
    events = [line["event"] for line in logged]
    assert events.count("watch_lookup_failed") == 1
    # Causes of Redis differ with the moment: a connection that ends, one that is refused.
    assert 1 <= events.count("store_failed") <= 3
    assert set(events) == {"upkeep_failed", "watch_lookup_failed", "store_failed"}


async def test_cancellation_that_a_library_lost_ends_it() -> None:
    async def lose() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)

    task = asyncio.create_task(repeat("losing", 5, lose))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.cancelled()
