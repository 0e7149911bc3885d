"""The port through which coordinators see time; tests have a clock that they move themselves."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time, and waiting for it."""

    def unix(self) -> float:
        """Seconds since 1970: to be shown, and compared with times that the cloud sends."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump: for waits."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set, at most `seconds`; whether it was."""
        ...


class SystemClock:
    """The machine's clock."""

    def unix(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
