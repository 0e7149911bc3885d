"""Rules: when to ask the cloud again. No clock, no randomness of its own: both are given.

A fleet must not arrive in step, so every wait is drawn from a range; a cloud that fails must not be asked more often,
so waits double; and what the cloud asks for with Retry-After is the least that is waited, up to a limit, since a
mistaken or hostile answer must not silence a device for days.
"""

MAX_BACKOFF_SECONDS = 900.0
"""Longest wait after failures that the cloud answered: being asked more often may be what it suffers from."""

MAX_SILENCE_SECONDS = 60.0
"""Longest wait after polls that nobody answered: a device is back within a minute of its network or its cloud."""

MAX_RETRY_AFTER_SECONDS = 3_600.0
"""Longest wait that a Retry-After is obeyed for."""

_JITTER = 0.1
_MAX_DOUBLINGS = 16


def poll_delay(
    interval_seconds: float,
    failures: int,
    retry_after_seconds: float | None,
    draw: float,
    most_seconds: float = MAX_BACKOFF_SECONDS,
) -> float:
    """Seconds until the next poll.

    Args:
        interval_seconds: The configured interval.
        failures: Polls that failed in a row.
        retry_after_seconds: What the cloud asked for, if it did.
        draw: Uniform in [0, 1).
        most_seconds: Longest wait after failures.
    """
    if failures == 0:
        delay = interval_seconds * (1 - _JITTER + 2 * _JITTER * draw)
    else:
        delay = backoff_delay(interval_seconds, failures, draw, most_seconds)
    if retry_after_seconds is not None:
        delay = max(delay, min(retry_after_seconds, MAX_RETRY_AFTER_SECONDS))
    return delay


def backoff_delay(first_seconds: float, failures: int, draw: float, most_seconds: float = MAX_BACKOFF_SECONDS) -> float:
    """Seconds to wait after `failures` in a row: doubling, limited, the upper half of it drawn.

    Args:
        first_seconds: Full wait after the first failure.
        failures: At least 1.
        draw: Uniform in [0, 1).
        most_seconds: Longest full wait.
    """
    # An interval that is itself longer than the limit stays what it is.
    limit = max(most_seconds, first_seconds)
    full = min(first_seconds * 2.0 ** min(failures - 1, _MAX_DOUBLINGS), limit)
    return full * (0.5 + 0.5 * draw)
