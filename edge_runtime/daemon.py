"""The daemon: `run()` around the updater's `tick()`, beside its merges, the link to the cloud and the owner's commands.

Rules:
- An unforeseen failure of a tick or a report is logged and tried again. It never ends serving.
- One merge runs at a time.
- A command wakes the daemon; a tick that waits for the cloud ends, and the next one carries the command out first.
- At the end, the tick and the merge in progress are abandoned. They leave no more behind than a kill would.

The HTTP server is started and stopped by `bootstrap`.
"""

import asyncio

import structlog

from edge_runtime.clock import Clock
from edge_runtime.cloud.link import CloudLink
from edge_runtime.commands import listening
from edge_runtime.device import Device
from edge_runtime.errors import EdgeError, MergeCancelledError
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.state import Command
from edge_runtime.updates.updater import Updater

_log = structlog.get_logger(__name__)

UNFORESEEN_SECONDS = 30.0
"""Until the next tick after an unforeseen failure."""

WATCH_PAUSE_SECONDS = 5.0
"""Between two attempts to watch the channel."""


class Daemon:
    """Drives one device.

    Args:
        updater: What is driven.
        device: What is reported.
        disk: Where the owner's commands arrive.
        clock: Waits.
        link: To the cloud; None without one.
        watch_spread_seconds: Longest wait between hearing of a change and polling.
    """

    def __init__(
        self,
        updater: Updater,
        device: Device,
        disk: DataDirectory,
        clock: Clock,
        link: CloudLink | None = None,
        watch_spread_seconds: float = 0.0,
    ) -> None:
        self._watch_spread_seconds = watch_spread_seconds
        self._updater = updater
        self._device = device
        self._disk = disk
        self._clock = clock
        self._link = link
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._ticking: asyncio.Task[float] | None = None

    def stop(self) -> None:
        """End `run` soon."""
        self._stop.set()
        self._wake.set()
        self._updater.stop()
        if self._ticking is not None:
            self._ticking.cancel()

    def wake(self) -> None:
        """Tick at once, or again."""
        self._wake.set()

    async def run(self) -> None:
        """Bring up what was there, then follow the channel until `stop`.

        Raises:
            EdgeError: Not even the base model can serve.
        """
        try:
            await self._updater.restore()
        except MergeCancelledError:
            # `stop` was called while the base was being quantized.
            return
        async with listening(self._disk.socket, self._obey):
            await self._follow()

    async def _follow(self) -> None:
        watching = asyncio.create_task(self._watch()) if self._link else None
        merging: asyncio.Task[None] | None = None
        try:
            while not self._stop.is_set():
                delay = await self._tick()
                if self._stop.is_set():
                    break
                if merging is None or merging.done():
                    merging = asyncio.create_task(self._merge())
                await self._report()
                await self._wait(delay)
        finally:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if merging is not None:
                await merging

    async def _obey(self, command: Command) -> str:
        done = self._updater.command(command)
        self._wake.set()
        return await done

    async def _tick(self) -> float:
        self._ticking = asyncio.create_task(self._updater.tick())
        try:
            return await self._ticking
        except asyncio.CancelledError:
            if not self._ticking.cancelled():
                # It is this daemon that is cancelled.
                self._ticking.cancel()
                raise
            return 0.0
        except EdgeError as error:
            _log.warning("update_failed", code=error.code, reason=str(error))
        except Exception:
            _log.exception("update_crashed")
        return UNFORESEEN_SECONDS

    async def _merge(self) -> None:
        try:
            attempts = await self._updater.merge_pending()
        except Exception:
            _log.exception("merge_crashed")
            return
        if attempts:
            # What was merged is reported, and what it replaced collected, without waiting for the next poll.
            self._wake.set()

    async def _wait(self, seconds: float) -> None:
        """Wait until `seconds` have passed, or `wake` was called."""
        if seconds > 0:
            await self._clock.wait(self._wake, seconds)
        if not self._stop.is_set():
            self._wake.clear()

    async def _report(self) -> None:
        if self._link is None:
            return
        try:
            await self._link.report(self._device.status())
        except Exception:
            _log.exception("report_crashed")

    async def _watch(self) -> None:
        poller = self._updater.poller
        assert self._link is not None
        assert poller is not None
        while True:
            try:
                changed = await self._link.watch(poller.heard_version)
            except Exception:
                _log.exception("watch_crashed")
                changed = False
            if changed:
                poller.poll_now(self._watch_spread_seconds)
                self._wake.set()
            await self._clock.wait(self._stop, WATCH_PAUSE_SECONDS)
