"""Coordinator: asks the cloud for the channel, at the pace of `cloud.pacing`, and remembers the last answer.

A channel that cannot be had, or that is not there, leaves the last one in force. So does one that went back to an older
version than was seen, even before a restart: a cloud whose database was restored must not undo what came since. What
follows from a channel is decided by the updater.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.clock import Clock
from edge_runtime.cloud.fetcher import ChannelAnswer
from edge_runtime.cloud.pacing import MAX_BACKOFF_SECONDS, MAX_SILENCE_SECONDS, poll_delay
from edge_runtime.errors import (
    ChannelRefusedError,
    ChannelWentBackError,
    CloudStatusError,
    CloudUnreachableError,
    UpdateError,
    describe_error,
    error_code,
)
from edge_runtime.telemetry import Telemetry, UpdateRecord
from loragen.contract.channel import Channel, parse_channel
from loragen.contract.errors import ContractError, MismatchError


@dataclass(frozen=True, slots=True)
class PollOutcome:
    """How the last poll went.

    Attributes:
        code: `ok`, `unchanged`, or an error's code; empty before the first.
        at: Unix seconds.
    """

    code: str = ""
    message: str = ""
    at: float | None = None


class ChannelSource(Protocol):
    """Where the channel comes from."""

    async def fetch_channel(self, channel: str, known: ChannelAnswer | None) -> ChannelAnswer:
        """The channel; `known`, which the caller follows, itself when it is unchanged.

        Raises:
            UpdateError: It could not be had.
        """
        ...


class Poller:
    """Follows one channel.

    Args:
        channel: Its name.
        source: The cloud.
        interval_seconds: Between two polls that went well.
        clock: For the times of polls.
        draw: Uniform in [0, 1).
        telemetry: Gets a record of each poll.
        newest_seen: The newest version that was ever seen; None takes any.

    Attributes:
        heard_version: Version that the cloud sent last, whether it is followed or not; 0 before the first.
        wanted: The channel as the cloud last sent it; None before the first success.
        outcome: How the last poll went.
    """

    def __init__(
        self,
        channel: str,
        source: ChannelSource,
        interval_seconds: float,
        clock: Clock,
        draw: Callable[[], float],
        telemetry: Telemetry,
        newest_seen: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.heard_version = 0
        self.wanted: Channel | None = None
        self.outcome = PollOutcome()
        self._channel = channel
        self._source = source
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._draw = draw
        self._telemetry = telemetry
        self._newest_seen = newest_seen
        self._known: ChannelAnswer | None = None
        self._failures = 0
        self._is_silent = False  # the last poll had no answer
        self._next_at = clock.monotonic()

    def due_in(self) -> float:
        """Seconds until the next poll."""
        return max(0.0, self._next_at - self._clock.monotonic())

    def poll_now(self, spread_seconds: float = 0.0) -> None:
        """Poll soon, because the cloud sent word. When the last poll failed, the pause after it still holds.

        Args:
            spread_seconds: Within this time, at a moment that is drawn: a fleet hears of a change all at once.
        """
        if self._failures == 0 or self._is_silent:
            self._next_at = min(self._next_at, self._clock.monotonic() + spread_seconds * self._draw())

    async def poll(self) -> None:
        """Ask once; failures are kept in `outcome`."""
        started = self._clock.monotonic()
        retry_after: float | None = None
        self._is_silent = False
        try:
            code, message = await self._ask(), ""
            self._failures = 0
        except (UpdateError, ContractError) as error:
            code, message = error_code(error), describe_error(error)
            if isinstance(error, CloudStatusError):
                retry_after = error.retry_after_seconds
            if isinstance(error, CloudStatusError) and error.status == 404:
                # Nothing was ever published there. This is no failure: the next poll comes after the usual interval.
                known = "any more; what it listed stays" if self._newest_seen() or self.wanted else "yet"
                code, message = "channel_missing", f"the cloud has no channel {self._channel!r} {known}"
                self._failures = 0
            elif isinstance(error, (ChannelWentBackError, ChannelRefusedError)):
                # The cloud answers well: it is asked at the usual pace, to be followed again as soon as can be.
                self._failures = 0
            else:
                self._failures += 1
                self._is_silent = isinstance(error, CloudUnreachableError)
        self.outcome = PollOutcome(code, message, self._clock.unix())
        ended = self._clock.monotonic()
        most = MAX_SILENCE_SECONDS if self._is_silent else MAX_BACKOFF_SECONDS
        self._next_at = ended + poll_delay(self._interval_seconds, self._failures, retry_after, self._draw(), most)
        self._telemetry.update_finished(
            UpdateRecord("poll", code, round(ended - started, 6), self._channel, message=message or None)
        )

    async def _ask(self) -> str:
        answer = await self._source.fetch_channel(self._channel, self._known)
        if answer is self._known:
            self.heard_version = 0 if self.wanted is None else self.wanted.version
            return "unchanged"
        channel = parse_channel(answer.document)
        if channel.name != self._channel:
            raise MismatchError(f"expected channel {self._channel!r}, the cloud sends {channel.name!r}")
        self.heard_version, newest = channel.version, self._newest_seen()
        if newest is not None and channel.version < newest:
            raise ChannelWentBackError(
                f"channel {self._channel!r}: expected version {newest} or newer, the cloud sends {channel.version}",
                f"the cloud's store was restored? what serves stays until the channel passes version {newest}, or "
                f"`loragen-edge accept {self._channel}` is run on the device",
            )
        # Kept only now: an answer that was refused must be asked for again in full.
        self.wanted, self._known = channel, answer
        return "ok"
