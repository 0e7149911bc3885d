"""Rule: how long the slowest disk that a device may have takes to read its model files.

A limit of time that stands for "it hangs" must leave room for this: else a large model on a slow disk fails each time.
"""

from collections.abc import Iterable
from pathlib import Path

SLOWEST_BYTES_PER_SECOND = 10_000_000
"""What an SD card of class 10 keeps up."""


def reading_seconds(paths: Iterable[Path]) -> float:
    """Seconds for loading files, each as often as it is listed: read once for its checksum, and once by the model.

    Files that are not there take none: whoever loads them says so. Blocking.
    """
    return sum(2 * size_of(path) for path in paths) / SLOWEST_BYTES_PER_SECOND


def size_of(path: Path) -> int:
    """Bytes of a file; none of one that is not there, or no longer. Blocking."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
