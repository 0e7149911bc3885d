"""One daemon for each data directory."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from edge_runtime.updates.lock import is_locked, locked
from loragen.web.errors import ConfigurationError
from tests.full_disk import read_only_disk


def test_second_daemon_is_refused(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(ConfigurationError, match="another daemon"), locked(tmp_path):
            pass
    assert not is_locked(tmp_path)


def test_no_daemon_runs_on_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """To ask makes no file, either."""
    assert not is_locked(tmp_path / "absent")
    assert not is_locked(tmp_path)
    assert not list(tmp_path.iterdir())


def test_directory_that_became_read_only_is_locked_as_well(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    with read_only_disk():
        with locked(tmp_path):
            assert is_locked(tmp_path)
            with pytest.raises(ConfigurationError, match="another daemon"), locked(tmp_path):
                pass
        assert not is_locked(tmp_path)


def test_directory_that_was_never_written_is_a_configuration_error(tmp_path: Path) -> None:
    with read_only_disk(), pytest.raises(ConfigurationError, match="Read-only"), locked(tmp_path):
        pass


def test_lock_of_another_user_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("edge_runtime.updates.lock.os.open", refuse)
    with pytest.raises(ConfigurationError, match="lock: Permission denied") as caught, locked(tmp_path):
        pass
    assert "another user" in caught.value.hint


def test_lock_holds_no_file_open_for_writing(tmp_path: Path) -> None:
    """Else nobody could make the disk of a running device read-only."""
    with locked(tmp_path):
        opened = [
            path.readlink()
            for path in Path("/proc/self/fd").iterdir()
            if path.exists() and fcntl.fcntl(int(path.name), fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)
        ]
        assert is_locked(tmp_path)
    assert tmp_path / "lock" not in opened


def test_disk_that_locks_only_what_is_open_for_writing_is_locked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As network disks do."""
    really_lock = fcntl.flock

    def lock(descriptor: int, operation: int) -> None:
        if not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_RDWR:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        really_lock(descriptor, operation)

    monkeypatch.setattr("fcntl.flock", lock)
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
