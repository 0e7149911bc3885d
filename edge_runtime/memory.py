"""How much memory this process may use: what the machine has, or what a control group leaves it."""

from collections.abc import Iterator
from pathlib import Path

from edge_runtime.control_groups import group_folders

_UNKNOWN = 1024**3
"""Bytes that are counted on where the system does not say."""


def usable_memory(root: Path = Path("/")) -> int:
    """Bytes, by the machine and by the limits of control groups (version 1 or 2).

    Args:
        root: Where `proc` and `sys` are.
    """
    return min(_limits(root), default=_UNKNOWN)


def _limits(root: Path) -> Iterator[int]:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                yield int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    for group in group_folders("memory", root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                yield int((group / name).read_text())
            except (OSError, ValueError):  # without a limit it says "max"
                continue
