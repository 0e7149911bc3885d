"""Checksums of model files."""

from pathlib import Path

import pytest

from edge_runtime.checksum import verify_checksum, write_checksum
from edge_runtime.errors import ModelLoadError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "slot.gguf"
    path.write_bytes(bytes(3_000_000))
    return path


def test_what_was_written_passes(model: Path) -> None:
    write_checksum(model)
    verify_checksum(model)


@pytest.mark.parametrize("at", [0, 1_500_000, 2_999_999])
def test_one_flipped_bit_is_found(model: Path, at: int) -> None:
    write_checksum(model)
    data = bytearray(model.read_bytes())
    data[at] ^= 4
    model.write_bytes(data)
    with pytest.raises(ModelLoadError, match="is not what was written"):
        verify_checksum(model)


def test_truncation_is_found(model: Path) -> None:
    write_checksum(model)
    model.write_bytes(b"")
    with pytest.raises(ModelLoadError):
        verify_checksum(model)


def test_file_without_a_checksum_is_taken_as_it_is_unless_one_is_required(model: Path) -> None:
    verify_checksum(model)
    for path in (model, model.with_name("missing.gguf")):
        with pytest.raises(ModelLoadError, match="no checksum"):
            verify_checksum(path, required=True)


def test_unreadable_checksum_is_an_error(model: Path) -> None:
    """What cannot be compared is not trusted: it is made again."""
    model.with_name("slot.gguf.crc32").mkdir()
    with pytest.raises(ModelLoadError):
        verify_checksum(model)
