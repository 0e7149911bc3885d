"""The data directory: one daemon, no paths from outside, nothing deleted that is needed."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_runtime.errors import ConfigurationError
from edge_runtime.updates.disk import DataDirectory
from loragen.contract.errors import ContractError
from tests.full_disk import no_descriptors, read_only_disk

ONE, TWO = "1" * 64, "2" * 64


def test_second_daemon_is_refused(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path / "edge")
    assert not disk.is_locked()
    with disk.locked():
        assert disk.is_locked()
        with pytest.raises(ConfigurationError, match="another daemon"), DataDirectory(tmp_path / "edge").locked():
            pass
    assert not disk.is_locked()


def test_unusable_directory_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_DATA_DIR"):
        DataDirectory(tmp_path / "file")


def test_directory_that_became_read_only_is_locked_as_well(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "edge").locked():
        pass
    with read_only_disk():
        disk = DataDirectory(tmp_path / "edge")
        with disk.locked():
            assert disk.is_locked()
            with pytest.raises(ConfigurationError, match="another daemon"), disk.locked():
                pass
        assert not disk.is_locked()


def test_directory_that_was_never_written_is_a_configuration_error(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    with read_only_disk(), pytest.raises(ConfigurationError, match="Read-only"), disk.locked():
        pass


def test_unneeded_files_are_deleted_and_downloads_of_needed_ones_kept(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    for path in (
        *(disk.bundle(each) for each in (ONE, TWO)),
        *(disk.bundle(each).with_suffix(".part") for each in (ONE, TWO)),
        *(disk.slot(each, "Q4_K") for each in (ONE, TWO)),
        disk.slot(ONE, "Q4_K").with_name(disk.slot(ONE, "Q4_K").name + ".partial"),
        disk.adapter(TWO),
        *(disk.bank(each) for each in (ONE, TWO)),
    ):
        path.write_text("x")
    disk.collect({disk.bundle(ONE), disk.slot(ONE, "Q4_K")}, None)
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        f"bundles/{ONE}.safetensors",
        f"bundles/{ONE}.part",
        f"slots/{ONE}.Q4_K.gguf",
        f"slots/{ONE}.Q4_K.gguf.partial",
        f"banks/{ONE}.safetensors",
        f"banks/{TWO}.safetensors",
    }
    disk.collect(set(), {TWO})
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{TWO}.safetensors"]


def test_what_a_kill_left_half_written_is_removed_and_downloads_stay(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    (tmp_path / "slots/x.gguf.partial").write_text("")
    (tmp_path / "adapters/.x.0123.tmp").write_text("")
    disk.bundle(ONE).with_suffix(".part").write_text("")
    disk.remove_unfinished()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{ONE}.part"]


def test_requests_are_taken_once_and_only_for_names(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    disk.request_rollback("router")
    (tmp_path / "requests/rollback-..").write_text("")
    assert disk.has_requests()
    assert disk.take_rollback_requests() == ["router"]
    assert not disk.has_requests()
    with pytest.raises(ContractError):
        disk.request_rollback("../../etc/passwd")


def test_what_cannot_be_deleted_stops_nothing(tmp_path: Path) -> None:
    """A request that stays on disk is taken once: seen again each second, it would keep the device from polling."""
    disk = DataDirectory(tmp_path)
    (tmp_path / "slots/x.gguf.partial").write_text("")
    disk.bundle(ONE).write_text("")
    disk.request_rollback("router")
    with read_only_disk(), capture_logs() as records:
        disk.remove_unfinished()
        assert disk.collect(set(), None) == []
        assert disk.take_rollback_requests() == ["router"]
        assert not disk.has_requests()
        assert disk.take_rollback_requests() == []
    told = {(record["event"], record["path"], record["reason"]) for record in records}
    assert ("file_not_deleted", str(disk.bundle(ONE)), "Read-only file system") in told


def test_requests_are_not_seen_while_no_file_can_be_opened(tmp_path: Path) -> None:
    """The daemon looks for them every second, outside of what a failed tick is caught by."""
    disk = DataDirectory(tmp_path)
    disk.request_rollback("router")
    with no_descriptors():
        assert not disk.has_requests()
    assert disk.has_requests()
