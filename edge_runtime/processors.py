"""How many processors this process may keep busy: in a container or under a service manager, fewer than there are.

The affinity says which processors it may run on; a control group (version 1 or 2) may say how much of their time it
gets. llama.cpp's threads wait for each other in a loop, so one thread too many costs more than it brings: a quota of
one and a half is one.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath


def usable_processors(root: Path = Path("/")) -> int:
    """Processors by affinity and quota; at least one.

    Args:
        root: Where `proc` and `sys` are.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([allowed, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the process's control groups and of those above them, in processors."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            yield from _limits(root / "sys/fs/cgroup", group, _quota_2)
        elif "cpu" in controllers.split(","):
            for mount in ("cpu", "cpu,cpuacct"):
                yield from _limits(root / "sys/fs/cgroup" / mount, group, _quota_1)


def _limits(mount: Path, group: str, read: Callable[[Path], float]) -> Iterator[float]:
    path = PurePosixPath(group.lstrip("/"))
    # In a container the group's own path may not be there; then the mount itself is the container's group.
    for part in (path, *path.parents):
        try:
            yield read(mount / part)
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
