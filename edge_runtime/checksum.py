"""Checksums of the model files that a device makes: damage by the disk is found before llama.cpp reads them.

llama.cpp ends the whole process on some damaged headers, so that a device would crash at every start; and it cannot
notice damaged weights. A file's checksum lies beside it. It is CRC-32, which guards against damage and not against an
attacker: one who can write the file can write its checksum too. Callers decide what becomes of a damaged file, and of
one without a checksum (its maker was killed in between). Of the base GGUF, `updates.base_note` has it.
"""

import zlib
from pathlib import Path

from edge_runtime.errors import ModelLoadError
from loragen.contract.atomic import write_atomic

CHECKSUM_SUFFIX = ".crc32"

_CHUNK_BYTES = 1 << 20


def checksum_path(path: Path) -> Path:
    """Where the checksum of a file is."""
    return path.with_name(path.name + CHECKSUM_SUFFIX)


def write_checksum(path: Path) -> None:
    """Note what is in a file now, beside it.

    Raises:
        OSError: The file cannot be read, or nothing written beside it; then no older checksum is left either.
    """
    beside = checksum_path(path)
    beside.unlink(missing_ok=True)
    write_atomic(beside, _written(path))


def remove_with_checksum(path: Path) -> None:
    """Delete a file and its checksum.

    Raises:
        OSError: One of them cannot be deleted.
    """
    # The checksum first: what is left without one is found again.
    checksum_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def verify_checksum(path: Path, *, required: bool = False) -> None:
    """Compare a file with its checksum.

    Args:
        path: The file.
        required: Refuse a file that has none, instead of taking it as it is.

    Raises:
        ModelLoadError: They differ, or cannot be read.
    """
    try:
        expected = checksum_path(path).read_bytes()
        found = _written(path)
    except FileNotFoundError as error:
        if required:
            raise ModelLoadError(f"{path.name} is missing, or has no checksum") from error
        return
    except OSError as error:
        raise ModelLoadError(f"cannot read {path.name}: {error.strerror or error}", "check the disk") from error
    if found != expected:
        raise ModelLoadError(f"{path.name} is not what was written", "the disk damaged it; it is made again")


def checksum(path: Path) -> str:
    """CRC-32 of a file, in hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            value = zlib.crc32(chunk, value)
    return f"{value:08x}"


def _written(path: Path) -> bytes:
    return f"{checksum(path)}\n".encode()
