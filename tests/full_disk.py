"""Helper: a disk that is full or read-only, and a process that may open no more files, for a test without them."""

import builtins
import errno
import io
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file can grow beyond `limit_bytes`; writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def read_only_disk() -> Iterator[None]:
    """No file can be made, opened for writing, renamed or deleted, save for what llama.cpp and sockets do."""
    really_open, really_open_file = os.open, io.open

    def refuse(path: Any, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def only_to_read(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) or (flags & os.O_CREAT and not Path(path).exists()):
            refuse(path)
        return really_open(path, flags, *rest, **named)

    def only_to_read_file(path: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if isinstance(path, int) or not set(mode) & set("wax+"):
            return really_open_file(path, mode, *rest, **named)
        return refuse(path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", only_to_read)
        patched.setattr(io, "open", only_to_read_file)
        patched.setattr(builtins, "open", only_to_read_file)
        for name in ("mkdir", "rename", "replace", "unlink"):
            patched.setattr(os, name, refuse)
        yield


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No file can be opened; what is open stays open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
