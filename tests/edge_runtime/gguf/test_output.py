"""A large file is the old one or the new one, whole, and has one writer."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from edge_runtime.errors import OutputError
from edge_runtime.free_space import SPARE_BYTES
from edge_runtime.gguf.output import replacing
from tests.full_disk import full_disk, read_only_disk


def test_new_file_takes_the_place_of_the_old_one_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "model.gguf"
    for content in (b"old", b"new"):
        with replacing(path, 3) as file:
            assert not path.exists() or path.read_bytes() == b"old"
            file.write(content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["model.gguf"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file_alone(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path, 3) as file:
            file.write(b"ne")
            raise error

    with pytest.raises((OutputError, KeyboardInterrupt)):
        write()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("model.gguf", b"old")]


def test_full_or_read_only_disk_is_noticed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with full_disk(1_000), pytest.raises(OutputError, match="no space left"), replacing(path, 2_000):
        pytest.fail("the block must not run")
    with read_only_disk(), pytest.raises(OutputError, match="cannot write"), replacing(path, 3):
        pytest.fail("the block must not run")


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A device, a pipe or a directory stays, and that is known before any work is done."""
    directory, pipe = tmp_path / "directory", tmp_path / "pipe"
    directory.mkdir()
    os.mkfifo(pipe)
    for path in (directory, pipe):
        with pytest.raises(OutputError, match=f"cannot write {path.name}"), replacing(path, 3):
            pytest.fail("the block must not run")
    assert sorted(tmp_path.iterdir()) == [directory, pipe]
    assert pipe.is_fifo()


def test_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with replacing(path, 3) as file:
        with pytest.raises(OutputError, match="another process"), replacing(path, 3):
            pytest.fail("the block must not run")
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_what_a_kill_left_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    (tmp_path / "model.gguf.partial").write_bytes(b"half a model")
    with replacing(path, 3) as file:
        file.write(b"new")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("model.gguf", b"new")]


def test_disk_that_would_have_no_room_for_what_is_small_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.gguf"
    outcomes: list[tuple[int, Any]] = [
        (SPARE_BYTES, nullcontext()),
        (SPARE_BYTES - 1, pytest.raises(OutputError, match="no space")),
    ]
    for free, outcome in outcomes:
        monkeypatch.setattr("edge_runtime.gguf.output.free_bytes", lambda _, free=free: free)
        with outcome, replacing(path, 3) as file:
            file.write(b"new")
        assert [each.name for each in tmp_path.iterdir()] == [path.name]
