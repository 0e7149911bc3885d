"""The daemon: `run()` around the updater's `tick()`, beside its merges and the link to the cloud.

Rules: a tick, or a word with the cloud, that fails in a way nobody foresaw is logged and tried again, and never ends
serving; one merge run at a time; a tick that waits for the cloud gives way to the command line, whose requests the
next one takes first; at the end the tick and the merge in progress are abandoned, which leaves no more than a kill
would. The HTTP server is started and stopped by `bootstrap`.
"""

import asyncio

import structlog

from edge_runtime.cloud.rpc import CloudLink
from edge_runtime.device import Device
from edge_runtime.errors import EdgeError, MergeCancelledError
from edge_runtime.updates.clock import Clock
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.updater import Updater

_log = structlog.get_logger(__name__)

REQUEST_CHECK_SECONDS = 1.0
"""How often the command line's requests are looked for; they are files, so that they work without a port or a key."""

UNFORESEEN_SECONDS = 30.0
"""Until the next tick after one that failed in a way nobody foresaw."""

WATCH_PAUSE_SECONDS = 5.0
"""Between two attempts to listen to the cloud."""


class Daemon:
    """Drives one device.

    Args:
        updater: What is driven.
        device: What is reported.
        disk: Where the command line's requests arrive.
        clock: Waits.
        link: To the cloud; None without one.
    """

    def __init__(
        self, updater: Updater, device: Device, disk: DataDirectory, clock: Clock, link: CloudLink | None = None
    ) -> None:
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
            # Told to stop while the base was being quantized.
            return
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

    async def _tick(self) -> float:
        self._ticking = asyncio.create_task(self._updater.tick())
        try:
            await self._watch_requests(self._ticking)
            return self._ticking.result()
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

    async def _watch_requests(self, ticking: asyncio.Task[float]) -> None:
        while not (await asyncio.wait({ticking}, timeout=REQUEST_CHECK_SECONDS))[0]:
            if await asyncio.to_thread(self._disk.has_requests) and self._updater.is_fetching:
                ticking.cancel()

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
        """Until `seconds` have passed, a nudge, or a request of the command line."""
        left = seconds
        while left > 0 and not self._wake.is_set():
            part = min(left, REQUEST_CHECK_SECONDS)
            await self._clock.wait(self._wake, part)
            left -= part
            if await asyncio.to_thread(self._disk.has_requests):
                break
        if not self._stop.is_set():
            self._wake.clear()

    async def _report(self) -> None:
        if self._link is None:
            return
        try:
            await self._link.report(self._device.report())
        except Exception:
            _log.exception("report_crashed")

    async def _watch(self) -> None:
        assert self._link is not None
        while True:
            try:
                changed = await self._link.watch(self._device.report().channel_version or 0)
            except Exception:
                _log.exception("watch_crashed")
                changed = False
            if changed and self._updater.poller is not None:
                self._updater.poller.poll_now()
                self._wake.set()
            await self._clock.wait(self._stop, WATCH_PAUSE_SECONDS)
