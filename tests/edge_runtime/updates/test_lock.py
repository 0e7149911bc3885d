"""One daemon for each data directory."""

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
