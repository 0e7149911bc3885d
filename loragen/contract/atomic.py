"""Files that appear whole or not at all: written beside their place, flushed to disk, then renamed.

What goes into a file is left to the caller. A device writes its models, which have gigabytes, in another way: there a
killed process must leave nothing that piles up. What a rename would destroy, such as `/dev/null`, is refused in both.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, for the body of a `with` to write; it becomes `path` when the body ends.

    After an error (a full disk, for instance) the temporary file is removed and `path` is unchanged. One that is not
    `durable` is not flushed: after a power cut it may have any content, which its readers have to find out.

    Example:
        with atomic_path(Path("weights.bin")) as temporary:
            temporary.write_bytes(data)

    Raises:
        OSError: The file cannot be written or renamed.
    """
    verify_replaceable(path)
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(8)}.tmp")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        if durable:
            _sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)  # the rename itself


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to `path`, whole or not at all, as `atomic_path` says.

    Raises:
        OSError: The file cannot be written or renamed.
    """
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def verify_replaceable(path: Path) -> None:
    """Check that a file may be put at `path`: nothing is there, or a file.

    Raises:
        OSError: A directory, a device, a pipe or a socket is there.
    """
    try:
        mode = path.stat().st_mode  # looked at once: between two looks somebody else may put a file there
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a file is expected there, or nothing", str(path))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
