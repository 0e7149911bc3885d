"""Rules: which failed calls are tried again, and when.

A call is tried again after 429 and 503, and when no connection could be made: then the service has not begun with it.
When the connection breaks before the answer is complete, only a call that may be repeated is tried again. An answer
that takes too long is not asked for again: that would load a slow service even more.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from loragen.client.errors import RemoteError

UNREACHABLE = "unreachable"
DISCONNECTED = "disconnected"
RETRIED_STATUSES = frozenset({429, 503})
LONGEST_RETRY_AFTER_SECONDS = 86_400.0


class Deadline:
    """The time that one call has in all, its repetitions and pauses included.

    Args:
        seconds: From now on.
        now: A monotonic clock, in seconds.
    """

    def __init__(self, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end = now() + seconds
        self._seconds = seconds

    @property
    def remaining_seconds(self) -> float:
        """What is left; negative when it is over."""
        return self._end - self._now()

    def verify(self) -> None:
        """Do nothing while there is time.

        Raises:
            RemoteError: The time is over.
        """
        if self.remaining_seconds <= 0:
            raise RemoteError(f"the answer was not complete within {self._seconds:g} s", code="timeout")


def pause_before_retry(error: Exception, *, repeatable: bool, remaining_seconds: float) -> bool | float:
    """What follows from a failed attempt, as stamina asks for it.

    Returns:
        False to give up, True to wait for a time that grows with each attempt, or the seconds to wait.
    """
    if not isinstance(error, RemoteError) or remaining_seconds <= 0:
        return False
    if error.status in RETRIED_STATUSES:
        asked = error.retry_after_seconds
        return True if asked is None else asked if asked < remaining_seconds else False
    return error.code == UNREACHABLE or (error.code == DISCONNECTED and repeatable)


def parse_retry_after(text: str | None, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, in either of its forms; None when it is absent or malformed.

    Args:
        text: `120` or `Fri, 31 Dec 1999 23:59:59 GMT`.
        now: Unix seconds, for the second form.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(int(text)) if len(text) <= 10 else LONGEST_RETRY_AFTER_SECONDS
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.fromtimestamp(now, UTC)).total_seconds())
