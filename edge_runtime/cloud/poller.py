"""Coordinator: asks the cloud for the channel, at the pace of `cloud.pacing`, and remembers the last answer.

A channel that cannot be had, or that is not there, leaves the last one in force. What follows from a channel is decided
by the updater.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_runtime.cloud.fetcher import ChannelAnswer
from edge_runtime.cloud.pacing import poll_delay
from edge_runtime.errors import CloudStatusError, UpdateError, describe, error_code
from edge_runtime.telemetry import Telemetry, UpdateRecord
from edge_runtime.updates.clock import Clock
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

    async def fetch_channel(self, channel: str, etag: str | None) -> ChannelAnswer:
        """The channel, unless it is still the one that `etag` names.

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

    Attributes:
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
    ) -> None:
        self.wanted: Channel | None = None
        self.outcome = PollOutcome()
        self._channel = channel
        self._source = source
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._draw = draw
        self._telemetry = telemetry
        self._etag: str | None = None
        self._failures = 0
        self._next_at = clock.monotonic()

    def due_in(self) -> float:
        """Seconds until the next poll."""
        return max(0.0, self._next_at - self._clock.monotonic())

    def poll_now(self) -> None:
        """Poll at the next tick; a cloud whose last answer was a failure is not asked any sooner."""
        if self._failures == 0:
            self._next_at = self._clock.monotonic()

    async def poll(self) -> None:
        """Ask once; failures are kept in `outcome`."""
        started = self._clock.monotonic()
        retry_after: float | None = None
        try:
            code, message = await self._ask(), ""
            self._failures = 0
        except (UpdateError, ContractError) as error:
            code, message = error_code(error), describe(error)
            if isinstance(error, CloudStatusError):
                retry_after = error.retry_after_seconds
            if isinstance(error, CloudStatusError) and error.status == 404:
                # Nothing was ever published there. This is no failure: the next poll comes after the usual interval.
                code, message = "channel_missing", f"the cloud has no channel {self._channel!r} yet"
                self._failures = 0
            else:
                self._failures += 1
        self.outcome = PollOutcome(code, message, self._clock.unix())
        ended = self._clock.monotonic()
        self._next_at = ended + poll_delay(self._interval_seconds, self._failures, retry_after, self._draw())
        self._telemetry.update_finished(
            UpdateRecord("poll", code, round(ended - started, 6), self._channel, message=message or None)
        )

    async def _ask(self) -> str:
        answer = await self._source.fetch_channel(self._channel, self._etag)
        if answer.document is None:
            return "unchanged"
        channel = parse_channel(answer.document)
        if channel.name != self._channel:
            raise MismatchError(f"expected channel {self._channel!r}, the cloud sends {channel.name!r}")
        # Kept only now: an answer that was refused must be asked for again in full.
        self.wanted, self._etag = channel, answer.etag
        return "ok"
