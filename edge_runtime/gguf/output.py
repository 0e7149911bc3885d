"""Writing large files so that a reader sees the old one or the new one, whole, and never anything between.

Rules:
- Bytes go to `<name>.partial` beside the target, which is flushed to the disk and then renamed over it.
- Any failure removes the partial file. After a kill or a power cut it stays, and the next attempt overwrites it: its
  name is fixed (unlike that of `loragen.contract.atomic`), so that gigabytes cannot pile up.
- One writer a target: a second one is refused, not interleaved.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge_runtime.errors import OutputError
from edge_runtime.free_space import SPARE_BYTES, free_bytes
from loragen.contract.atomic import verify_replaceable

PARTIAL_SUFFIX = ".partial"


@contextlib.contextmanager
def replacing(path: Path, size: int) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an error.

    Args:
        path: The target.
        size: Final length in bytes, reserved at once, so that a full disk is noticed before any work is done. The disk
            has `SPARE_BYTES` left then.

    Raises:
        OutputError: The file cannot be written: disk full, no permission, another writer, a directory or a device in
            its place.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        verify_replaceable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(partial)
    except OSError as e:
        raise _output_error(path, e) from e
    try:
        with file:
            file.truncate(0)
            os.posix_fallocate(file.fileno(), 0, size)
            if free_bytes(path.parent) < SPARE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield file
            file.flush()
            os.fsync(file.fileno())
            # Renamed while still locked: a waiting writer must not get hold of the finished file.
            partial.replace(path)
        _sync_directory(path.parent)
    except BaseException as e:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(e, OSError):
            raise _output_error(path, e) from e
        raise


def _locked(partial: Path) -> BinaryIO:
    while True:
        file = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The lock may have been given for a file that its last owner has just renamed to its final name.
            if os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "free some space; the old file, if there was one, is untouched"
        return OutputError(f"no space left while writing {path.name}: {error.strerror}", hint=hint)
    if error.errno in (errno.EAGAIN, errno.EACCES) and isinstance(error, BlockingIOError):
        return OutputError(f"another process is writing {path.name}", hint="wait for it to finish")
    return OutputError(f"cannot write {path.name}: {error.strerror or error}", hint="check permissions and the disk")
