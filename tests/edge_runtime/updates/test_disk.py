"""The data directory: nothing is deleted that is needed."""

import os
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from edge_runtime.gguf.quantization import Quantization
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.state import Entry, Installed, MergeSummary
from loragen.web.errors import ConfigurationError
from tests.full_disk import read_only_disk

ONE, TWO = "1" * 64, "2" * 64


def test_unusable_directory_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="LORAGEN_EDGE_DATA_DIR"):
        DataDirectory(tmp_path / "file")


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


def test_files_of_a_specialization_are_those_that_serve_and_those_of_a_rollback(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    merged = MergeSummary(Quantization.Q8_0, "requested", 1.0, 1.0, 1.0)
    entry = Entry(Installed(TWO, "adapter", 1, 1), previous=Installed(ONE, "merged", 1, 1, merged))
    assert disk.files_of(entry, Quantization.Q4_K) == {
        disk.adapter(TWO),
        disk.bundle(TWO),
        disk.slot(TWO, "Q4_K"),
        disk.bundle(ONE),
        disk.slot(ONE, "Q4_K"),
        disk.slot(ONE, "Q8_0"),
    }


def test_what_a_kill_left_half_written_is_removed_and_downloads_stay(tmp_path: Path) -> None:
    """A download without a single byte is none."""
    disk = DataDirectory(tmp_path)
    (tmp_path / "slots/x.gguf.partial").write_text("")
    (tmp_path / "adapters/.x.0123.tmp").write_text("")
    disk.bundle(ONE).with_suffix(".part").write_text("x")
    disk.bank(TWO).with_suffix(".part").write_text("")
    disk.remove_unfinished()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [f"{ONE}.part"]


def test_what_cannot_be_deleted_stops_nothing(tmp_path: Path) -> None:
    disk = DataDirectory(tmp_path)
    (tmp_path / "slots/x.gguf.partial").write_text("")
    disk.bundle(ONE).write_text("")
    with read_only_disk(), capture_logs() as records:
        disk.remove_unfinished()
        assert disk.collect(set(), None) == []
    reported = {(record["event"], record["path"], record["reason"]) for record in records}
    assert ("file_not_deleted", str(disk.bundle(ONE)), "Read-only file system") in reported


def test_what_a_disk_did_not_let_be_deleted_is_deleted_later(tmp_path: Path) -> None:
    """What is being written now stays."""
    disk = DataDirectory(tmp_path)
    for name in ("adapters/.x.0123.tmp", "cache/.y.0123.tmp", ".state.json.0123.tmp"):
        path = tmp_path / name
        path.write_text("")
        assert disk.collect(set(), None) == []
        an_hour_ago = time.time() - 3_600
        os.utime(path, (an_hour_ago, an_hour_ago))
        assert disk.collect(set(), None) == [path.name]
