"""Helper: a small disk that is really there, and becomes full or read-only; only where a process may mount one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_FILLER = "filler"


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[None]:
    """A disk of this size at `path`; the test is skipped where none may be mounted."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs mount(8)")
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def make_read_only(path: Path) -> None:
    """Mount it anew so that nobody can write."""
    subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)


def fill(path: Path) -> None:
    """Leave no byte."""
    with (path / _FILLER).open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


def mend(path: Path) -> None:
    """Let there be room again, and writing."""
    subprocess.run(["mount", "-o", "remount,rw", str(path)], check=True)
    (path / _FILLER).unlink(missing_ok=True)
