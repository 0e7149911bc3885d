"""Digests: sha256 of bytes, of files and of a model's directory; and canonical JSON, the text of some digests."""

import hashlib
import json
from io import BufferedReader, FileIO
from pathlib import Path

from gguf.constants import Keys

from loragen.contract.errors import FormatError
from loragen.contract.gguf_header import read_header
from loragen.contract.names import BASE_MODEL_DIGEST, verify_digest

_PIECE_BYTES = 1 << 20


def sha256_hex(data: bytes | memoryview) -> str:
    """sha256 of `data` in 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file, read as a stream.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return stream_sha256(file)


def stream_sha256(file: BufferedReader) -> str:
    """sha256 of what is left to read of an open file.

    Raises:
        OSError: The file cannot be read.
    """
    return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """`value` as JSON in one possible way: keys sorted, no white space, ASCII only.

    `value` holds only strings, integers, booleans, lists, tuples and dicts with string keys. A float has no single text
    form, so formats write it as a string (`loragen.contract.fields.format_decimal`).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def model_digest(path: Path) -> str:
    """Digest of a model: of a folder in Hugging Face form, or of a GGUF file.

    A folder's digest covers `config.json` and each `*.safetensors` beside it: it is the sha256 of the canonical JSON
    `{file name: sha256 of the file}`. The tokenizer is left out: it does not change what a LoRA is added to.

    A GGUF file's digest covers its tensors, and the metadata that decide what the model answers: architecture,
    hyperparameters, tokenizer, chat template. Names, licences and the order and place of tensors are left out, so that
    a header may be written anew. A file that was converted from another model, and says of which digest, has that one.

    Raises:
        ContractError: `path` is neither.
        OSError: A file cannot be read.
    """
    return _gguf_digest(path) if path.is_file() else _folder_digest(path)


def _folder_digest(directory: Path) -> str:
    if not directory.exists():
        raise FormatError(
            f"expected a model at {directory}, found nothing there",
            hint="name a GGUF file, or a directory in Hugging Face form",
        )
    config = directory / "config.json"
    weights = sorted(directory.glob("*.safetensors"))
    if not config.is_file() or not weights:
        raise FormatError(
            f"expected config.json and at least one *.safetensors in {directory}",
            hint="name a directory in Hugging Face form, with weights as safetensors",
        )
    return sha256_hex(canonical_json({path.name: file_sha256(path) for path in (config, *weights)}))


def _gguf_digest(path: Path) -> str:
    header = read_header(path)
    origin = header.string(BASE_MODEL_DIGEST)
    if origin is not None:
        return verify_digest(origin)
    architecture = Keys.General.ARCHITECTURE
    deciding = (f"{header.string(architecture)}.", "tokenizer.")
    metadata = {
        key: sha256_hex(value.type.to_bytes(4, "little") + value.raw)
        for key, value in header.metadata.items()
        if key == architecture or key.startswith(deciding)
    }
    with path.open("rb", buffering=0) as file:
        tensors = {
            info.name: [int(info.type), info.shape, _section_sha256(file, info.offset, info.nbytes)]
            for info in header.tensors
        }
    return sha256_hex(canonical_json({"metadata": metadata, "tensors": tensors}))


def _section_sha256(file: FileIO, offset: int, length: int) -> str:
    """sha256 of `length` bytes of a file, read in pieces."""
    file.seek(offset)
    state, buffer = hashlib.sha256(), memoryview(bytearray(min(length, _PIECE_BYTES)))
    while length:
        count = file.readinto(buffer[: min(length, len(buffer))])
        if not count:
            raise FormatError(f"a GGUF file ends {length} bytes before the end of a tensor")
        state.update(buffer[:count])
        length -= count
    return state.hexdigest()
