"""The lock that reserves a data directory for one process."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loragen.web.errors import ConfigurationError

_READ_ONLY = (errno.EROFS, errno.EACCES)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Reserve a directory for this process while the block runs.

    Raises:
        ConfigurationError: Another daemon has it, or it cannot be written and never was.
    """
    try:
        descriptor = _open(root / "lock")
    except OSError as error:
        raise ConfigurationError(f"LORAGEN_EDGE_DATA_DIR: cannot write in {root}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigurationError(
            f"LORAGEN_EDGE_DATA_DIR: another daemon runs on {root}", "stop it, or give this one a directory of its own"
        ) from error
    finally:
        os.close(descriptor)


def is_locked(root: Path) -> bool:
    """Whether a daemon runs on a directory; none does where there is no such directory, or it cannot be looked into."""
    try:
        descriptor = os.open(root / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno not in _READ_ONLY or not path.exists():
            raise
        # What is on a disk that became read-only can serve: a lock needs no writing.
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
