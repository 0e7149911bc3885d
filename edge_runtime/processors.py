"""How many processors this process may keep busy: in a container or under a service manager, fewer than there are.

The affinity says which processors it may run on; a control group (version 1 or 2) may say how much of their time it
gets. llama.cpp's threads wait for each other in a loop, so one thread too many costs more than it brings: a quota of
one and a half is one.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from edge_runtime.control_groups import group_folders


def usable_processors(root: Path = Path("/")) -> int:
    """Processors by affinity and quota; at least one.

    Args:
        root: Where `proc` and `sys` are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the process's control groups and of those above them, in processors."""
    for group in group_folders("cpu", root):
        for read in (_quota_2, _quota_1):
            try:
                yield read(group)
            except (OSError, ValueError, ZeroDivisionError):
                continue


def _quota_2(group: Path) -> float:
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period)


def _quota_1(group: Path) -> float:
    quota = int((group / "cpu.cfs_quota_us").read_text())
    if quota <= 0:
        raise ValueError("no quota")
    return quota / int((group / "cpu.cfs_period_us").read_text())
