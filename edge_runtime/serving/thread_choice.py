"""Rule: how many threads pay.

More are not always faster: the threads of a small model wait for each other most of the time, and where cores are of
two kinds, the fast ones wait for the slow ones.

Who measures is `serving.llama`. Logits depend on the number in their last bits, so that it is chosen once.
"""

from collections.abc import Callable

_CLEARLY = 0.9
"""Of the time before: other work on the machine changes a measurement by some per cent."""

_HOPELESS = 1.5
"""Of the best time: with still fewer threads it takes longer still."""


def best_threads(most: int, seconds_with: Callable[[int], float]) -> int:
    """The number of threads with which a step is fastest, of `most`, its half, and so on; the larger one in doubt.

    Args:
        most: At least 1.
        seconds_with: What a step takes with so many threads.
    """
    best, count = most, most
    least = seconds_with(most) if most > 1 else 0.0
    while count > 1:
        count //= 2
        seconds = seconds_with(count)
        if seconds < least * _CLEARLY:
            best, least = count, seconds
        elif seconds > least * _HOPELESS:
            break
    return best
