"""The machine's clock waits for an event, and no longer than it is asked to."""

import asyncio
import time

from edge_runtime.clock import SystemClock


async def test_wait_ends_with_the_event_or_with_the_time() -> None:
    clock, event = SystemClock(), asyncio.Event()
    assert await clock.wait(event, 0.01) is False
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await clock.wait(event, 60.0) is True


def test_both_times_go_forward() -> None:
    clock = SystemClock()
    monotonic = clock.monotonic()
    assert abs(clock.unix() - time.time()) < 60
    assert clock.monotonic() >= monotonic
