"""Readiness: whether the store takes a write, asked at most once in a while, however often somebody wants to know.

Each check is a write. Whoever calls `/health/ready`, which needs no key, shares it with the probes of load balancers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

FRESH_SECONDS = 1.0
"""How long an answer holds, a refusal too."""


class SharedCheck:
    """A check whose outcome is shared.

    Args:
        verify: The check; raises when it fails.
        monotonic: Seconds of a clock that is never set.
    """

    def __init__(self, verify: Callable[[], Awaitable[None]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._verify = verify
        self._monotonic = monotonic
        self._checking: asyncio.Task[None] | None = None
        self._fresh_until = 0.0

    async def verify(self) -> None:
        """Return when the check passed a moment ago. Raises what it raised."""
        if self._checking is None or (self._checking.done() and self._fresh_until <= self._monotonic()):
            self._checking = asyncio.create_task(self._check())
            self._checking.add_done_callback(_mark_heard)
        await asyncio.shield(self._checking)

    def close(self) -> None:
        """Nobody wants to know any more."""
        if self._checking is not None:
            self._checking.cancel()

    async def _check(self) -> None:
        try:
            await self._verify()
        finally:
            self._fresh_until = self._monotonic() + FRESH_SECONDS


def _mark_heard(task: asyncio.Task[None]) -> None:
    # Whoever asked may be gone when it fails.
    if not task.cancelled():
        task.exception()
