"""Digests: sha256 of bytes, of files and of a model's directory; and canonical JSON, the text of some digests."""

import hashlib
import json
from io import BufferedReader
from pathlib import Path

from loragen.contract.errors import FormatError


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


def model_digest(directory: Path) -> str:
    """Digest of a model in Hugging Face form: of `config.json` and each `*.safetensors` beside it.

    It is the sha256 of the canonical JSON `{file name: sha256 of the file}`. The tokenizer is left out: a LoRA is added
    to the weights, which do not depend on it.

    Raises:
        FormatError: `config.json` or every `*.safetensors` is absent.
        OSError: A file cannot be read.
    """
    config = directory / "config.json"
    weights = sorted(directory.glob("*.safetensors"))
    if not config.is_file() or not weights:
        raise FormatError(
            f"expected config.json and at least one *.safetensors in {directory}",
            hint="name a directory in Hugging Face form, with weights as safetensors",
        )
    return sha256_hex(canonical_json({path.name: file_sha256(path) for path in (config, *weights)}))
