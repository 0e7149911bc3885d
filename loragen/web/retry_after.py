"""When a client that found a queue full shall come back, by the measured rate of the work.

Each refused client gets a place of its own in the time to come, one for each piece of work that is done meanwhile.
Otherwise all would come back at once, and all but a few would be refused again.
"""

import math

_MOST_SECONDS = 60
"""With a longer wait, a client had better ask another replica."""

_NEWEST = 0.2
"""Weight of the newest measurement in the mean."""


class RetryAfter:
    """The places of one queue; times are those of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._next_place = 0.0

    def measured(self, seconds: float, pieces: int = 1) -> None:
        """Learn that this number of pieces took this long together."""
        share = seconds / pieces
        self._seconds = share if self._seconds == 0 else (1 - _NEWEST) * self._seconds + _NEWEST * share

    def seconds(self, now: float, running: int, running_seconds: float) -> int:
        """Whole seconds for one more client, which is refused now.

        Args:
            now: The time.
            running: Pieces of work under way.
            running_seconds: For how long they have been.
        """
        if self._next_place <= now:
            self._next_place = now + max(0.0, running * self._seconds - running_seconds)
        self._next_place = min(self._next_place + self._seconds, now + _MOST_SECONDS)
        return max(1, math.ceil(self._next_place - now))
