"""Files appear whole or not at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from loragen.contract.atomic import atomic_path, write_atomic


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_has_to_be_durable_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    write_atomic(tmp_path / "state", b"one", durable=durable)
    assert (tmp_path / "state").read_bytes() == b"one"
    assert len(flushed) == (2 if durable else 0), "the file, and its folder"


def test_failing_body_keeps_the_old_file_and_removes_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomic(path, b"old")

    def fill_the_disk() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "disk full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_failing_rename_removes_the_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "directory"

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"x")
            path.mkdir()

    with pytest.raises(OSError, match="directory"):
        write()
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """As root, `/dev/null` could be renamed over."""
    directory, pipe, link = tmp_path / "directory", tmp_path / "pipe", tmp_path / "link"
    directory.mkdir()
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    there = sorted(tmp_path.iterdir())
    for path in there:
        with pytest.raises(OSError, match=r"directory|expected"):
            write_atomic(path, b"x")
    assert sorted(tmp_path.iterdir()) == there
    assert stat.S_ISFIFO(link.stat().st_mode)


def test_file_that_another_thread_puts_there_in_between_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads may write one path: each look at it may find what the last did not."""
    path = tmp_path / "bundle"
    look = Path.stat

    def looked_at(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        try:
            return look(self, follow_symlinks=follow_symlinks)
        finally:
            path.touch()

    monkeypatch.setattr(Path, "stat", looked_at)
    write_atomic(path, b"mine")
    assert path.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [path]


def test_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync of the file, rename, fsync of the directory, in this order."""
    events: list[str] = []
    path = tmp_path / "state"
    real_fsync = os.fsync

    def fsync(descriptor: int) -> None:
        real_fsync(descriptor)
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"{kind}, named: {path.exists()}")

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(path, b"x")
    assert events == ["file, named: False", "directory, named: True"]


def test_new_file_follows_the_umask(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", b"")
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_longest_file_name_still_has_room_for_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_atomic(path, b"x")
    assert path.read_bytes() == b"x"
