"""The lock that reserves a data directory for one process."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loragen.web.errors import ConfigurationError


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Reserve a directory for this process while the block runs.

    Raises:
        ConfigurationError: Another daemon has it, or it cannot be written and never was.
    """
    try:
        descriptor = _lock(root / "lock", os.O_CREAT)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"LORAGEN_EDGE_DATA_DIR: another daemon runs on {root}", "stop it, or give this one a directory of its own"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"LORAGEN_EDGE_DATA_DIR: cannot open {root / 'lock'}: {error.strerror}",
            "does another user own the directory, or did one run a daemon on it?",
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def is_locked(root: Path) -> bool:
    """Whether a daemon runs on a directory; none does where there is no such directory, or it cannot be looked into."""
    try:
        os.close(_lock(root / "lock"))
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock(path: Path, flags: int = 0) -> int:
    """A descriptor that has the lock.

    Raises:
        BlockingIOError: Another one has it.
        OSError: The file cannot be opened.
    """
    # To read, where that is enough: a disk with a file that is open to be written cannot be made read-only, and on one
    # that is, nothing else can be opened. Network disks want writing.
    try:
        return _opened(path, os.O_RDONLY | flags)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return _opened(path, os.O_RDWR | flags)


def _opened(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
