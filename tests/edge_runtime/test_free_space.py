"""What may still be written to a disk."""

import os
from pathlib import Path

from edge_runtime.free_space import free_bytes


def test_free_bytes_are_those_of_the_disk_that_anybody_may_write(tmp_path: Path) -> None:
    """Not those that are kept back for the system. Others write meanwhile."""
    status = os.statvfs(tmp_path)
    assert abs(free_bytes(tmp_path) - status.f_bavail * status.f_frsize) < 2**30
