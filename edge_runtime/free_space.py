"""How much a process may still write to a disk, and what large files must leave of it."""

import shutil
from pathlib import Path

SPARE_BYTES = 1024 * 1024
"""Left by every download and every model that is written: for the state, which is written twice, the history, and what
else is small. Else a device could fill its disk so that it cannot even note what it may delete."""


def free_bytes(directory: Path) -> int:
    """What this process may still write to the disk of a directory."""
    return shutil.disk_usage(directory).free
