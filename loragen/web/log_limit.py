"""How often the log says the same again: an outage is a line or two, however often somebody meets it."""

import time
from collections.abc import Callable


class LogLimit:
    """Lets one line of each kind through in a while, and counts the others.

    Args:
        seconds: Between two lines of a kind.
        monotonic: Seconds of a clock that is never set.
    """

    def __init__(self, seconds: float = 30.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._said: dict[str, tuple[float, int]] = {}

    def pass_line(self, kind: str) -> int | None:
        """How many lines of a kind were left out since the last one; None when this one is to be left out, too.

        Args:
            kind: One of few, such as the name of an error's class.
        """
        now = self._monotonic()
        last, left_out = self._said.get(kind, (float("-inf"), 0))
        if now - last < self._seconds:
            self._said[kind] = (last, left_out + 1)
            return None
        self._said[kind] = (now, 0)
        return left_out
