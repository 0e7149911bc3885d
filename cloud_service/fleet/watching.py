"""Watches: they wake the listeners of a channel when its version changes.

One task reads the version of a watched channel for all its listeners, so a thousand devices cost one read an interval.
A channel that is not there is looked up more and more seldom, since anybody can make up names, but soon when it is made
here, and when another begins to watch it; all who watch one that is there share its reads. Changes by this process
reach them at once. A watch is only a hint to poll: it may repeat a version, it survives a silent store, and it ends
when the process drains. A device may know a newer version than the channel has, since it sees a rollout's candidate; it
is not woken for the older one.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from cloud_service.errors import OverloadedError, StoreUnavailableError
from cloud_service.limits import MAX_WATCHES
from cloud_service.store import ChannelStore
from loragen.web.log_limit import LogLimit

_log = structlog.get_logger(__name__)

_LONGEST_SECONDS = 30.0
"""Between two looks for a channel that is not there: as often as its devices poll."""


@dataclass(slots=True, eq=False)
class _Topic:
    poll: asyncio.Task[None] | None = None
    listeners: int = 0
    version: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    look: asyncio.Event = field(default_factory=asyncio.Event)


class ChannelWatch:
    """Versions of channels, as they change.

    Args:
        store: Where channels live.
        interval_seconds: How often a watched channel is looked up.
    """

    def __init__(self, store: ChannelStore, interval_seconds: float) -> None:
        self._store = store
        self._interval = interval_seconds
        self._topics: dict[str, _Topic] = {}
        self._listeners = 0
        self._log_limit = LogLimit()
        self._draining = False

    @property
    def listeners(self) -> int:
        """How many watches are open."""
        return self._listeners

    async def versions(self, channel: str, known_version: int) -> AsyncGenerator[int, None]:
        """The channel's version if it is above `known_version`, then each new one; ends when the process drains.

        Raises:
            OverloadedError: Too many watches are open.
        """
        if self._listeners >= MAX_WATCHES:
            raise OverloadedError(
                f"{self._listeners} watches are open, the most allowed", "poll", retry_after_seconds=60
            )
        topic = self._topics.setdefault(channel, _Topic())
        if topic.poll is None:
            topic.poll = asyncio.create_task(self._poll(channel, topic))
        topic.look.set()
        topic.listeners += 1
        self._listeners += 1
        try:
            while not self._draining:
                changed = topic.changed
                if topic.version is not None and topic.version > known_version:
                    known_version = topic.version
                    yield known_version
                else:
                    await changed.wait()
        finally:
            topic.listeners -= 1
            self._listeners -= 1
            if topic.listeners == 0:
                topic.poll.cancel()
                del self._topics[channel]

    def announce(self, channel: str, version: int) -> None:
        """Wake the listeners of a channel that has a new version."""
        topic = self._topics.get(channel)
        if topic is not None and topic.version != version:
            topic.version = version
            topic.look.set()
            self._wake(topic)

    def drain(self) -> None:
        """End all watches."""
        self._draining = True
        for topic in self._topics.values():
            self._wake(topic)

    async def _poll(self, channel: str, topic: _Topic) -> None:
        pause = self._interval
        while True:
            topic.look.clear()
            try:
                version = await self._store.load_version(channel)
            except StoreUnavailableError as e:
                if (left_out := self._log_limit.pass_line(e.code)) is not None:
                    _log.warning("watch_lookup_failed", channel=channel, error=e.code, left_out=left_out)
            else:
                if version is not None:
                    self.announce(channel, version)
                is_there = version is not None
                pause = self._interval if is_there else max(self._interval, min(2 * pause, _LONGEST_SECONDS))
            await asyncio.sleep(self._interval)  # between two looks, however many begin to watch
            if pause > self._interval:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause - self._interval):
                        await topic.look.wait()

    def _wake(self, topic: _Topic) -> None:
        topic.changed.set()
        topic.changed = asyncio.Event()
