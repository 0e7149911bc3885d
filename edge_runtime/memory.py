"""How much memory this process may use, by the machine and by its control group, and how much it does use."""

import ctypes
import sys
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


def resident_memory(root: Path = Path("/")) -> int | None:
    """Bytes that this process has in memory; None where the system does not say.

    Args:
        root: Where `proc` is.
    """
    try:
        for line in (root / "proc/self/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def give_back() -> None:
    """Return to the system what this process has freed; nothing where the C library has no such call."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def models_that_fit(model_bytes: int, budget_bytes: int) -> int:
    """How many models fit beside the base.

    llama.cpp copies 4-bit matrices into another order where the processor gains by it, so each is counted twice.
    """
    return max(0, budget_bytes // max(1, 2 * model_bytes) - 1)


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
