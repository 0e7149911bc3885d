"""Adapter: what Linux says of this process's memory."""

from pathlib import Path

from benchmarks.errors import BenchmarkError


def status_bytes(key: str) -> int:
    """A line of /proc/self/status: `VmHWM` is the most that was resident, `RssAnon` what is now and is of no file.

    Not getrusage: what that calls the peak of a process may be that of the one that started it.

    Raises:
        BenchmarkError: There is no such line.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise BenchmarkError(f"/proc/self/status says nothing of {key}")
