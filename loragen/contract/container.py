"""The container of bundles, recipes and banks: a safetensors file that can be written in only one way.

Rules: the header is canonical JSON, padded with spaces to a multiple of 8 bytes; the tensors' data follow in the order
of their names' bytes, without gaps. A reader compares the header with the one that it would have written, so equal
content has one digest. Every length is checked before memory is taken for it.

The safetensors package reads these files, but cannot write them: it orders metadata at random.
The formats decide which tensors and fields a file must have, and whether the numbers must be finite.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loragen.contract.digest import canonical_json
from loragen.contract.errors import FormatError, LimitError, VersionError
from loragen.contract.fields import FORMAT_KEY, VERSION_KEY
from loragen.contract.limits import MAX_HEADER_BYTES, MAX_TENSORS

if sys.byteorder != "little":  # numpy views of the file are little-endian
    raise ImportError("contract reads tensors in place and needs a little-endian machine")

_METADATA = "__metadata__"
_ITEM_BYTES = {"F16": 2, "F32": 4}
_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Element type (`F16` or `F32`) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Container:
    """A parsed file: `metadata`, the `specs` of its tensors by name, and views of its data."""

    metadata: Mapping[str, str]
    specs: Mapping[str, TensorSpec]
    _offsets: Mapping[str, int]
    _data: memoryview

    def float16(self, name: str) -> NDArray[np.float16]:
        """Read-only view of a tensor of dtype F16; nothing is copied.

        Raises:
            FormatError: The tensor has another dtype.
        """
        return self._view(name, "F16").view(np.float16)

    def float32(self, name: str) -> NDArray[np.float32]:
        """Read-only view of a tensor of dtype F32; nothing is copied.

        Raises:
            FormatError: The tensor has another dtype.
        """
        return self._view(name, "F32").view(np.float32)

    def _view(self, name: str, dtype: str) -> NDArray[np.void]:
        spec = self.specs[name]
        if spec.dtype != dtype:
            raise FormatError(f"tensor {name}: expected dtype {dtype}, found {spec.dtype}")
        itemsize = _ITEM_BYTES[dtype]
        count = math.prod(spec.shape)
        # toreadonly: a view of a writable buffer must not let a caller change what was verified.
        data = self._data.toreadonly()
        return np.frombuffer(data, dtype=f"V{itemsize}", count=count, offset=self._offsets[name]).reshape(spec.shape)


def encode_header(kind: str, version: int, metadata: Mapping[str, str], specs: Mapping[str, TensorSpec]) -> bytes:
    """Everything before the data: length prefix, canonical JSON, padding."""
    return _encode_header(_all_metadata(kind, version, metadata), specs)


def measure_tensors(specs: Mapping[str, TensorSpec]) -> tuple[int, int]:
    """How many bytes tensors take in the JSON of a header, braces included, and how many their data take."""
    return len(_header_json({}, specs)), sum(spec.nbytes for spec in specs.values())


def measure_header(kind: str, version: int, metadata: Mapping[str, str], tensors: int) -> int:
    """The length of `encode_header` with tensors that take so much of the JSON."""
    size = tensors + len(canonical_json(_all_metadata(kind, version, metadata))) - len("{}")
    return _PREFIX_BYTES + size + -size % 8


def tensor_order(specs: Mapping[str, TensorSpec]) -> Iterator[str]:
    """Names in the order of the data: by the bytes of the name."""
    return iter(sorted(specs))


def parse_container(data: bytes | memoryview, *, kind: str, version: int, max_bytes: int) -> Container:
    """Parse a file of the given kind and version.

    Args:
        data: The whole file.
        kind: Expected value of `loragen.format`.
        version: The only version that the caller can read.
        max_bytes: Limit of the whole file.

    Raises:
        ContractError: Any bytes that `encode_header` and the tensors' data in order could not have made.
    """
    view = memoryview(data).cast("B")
    if len(view) > max_bytes:
        raise LimitError(f"{kind}: expected at most {max_bytes} bytes, found {len(view)}")
    if len(view) < _PREFIX_BYTES:
        raise FormatError(f"{kind}: expected a safetensors file, found {len(view)} bytes")
    header_bytes = int.from_bytes(view[:_PREFIX_BYTES], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise LimitError(f"{kind}: expected a header of at most {MAX_HEADER_BYTES} bytes, found {header_bytes}")
    data_start = _PREFIX_BYTES + header_bytes
    if data_start > len(view):
        raise FormatError(f"{kind}: expected a header of {header_bytes} bytes, found {len(view) - _PREFIX_BYTES}")

    metadata, entries = _parse_json(bytes(view[_PREFIX_BYTES:data_start]), kind)
    _verify_version(metadata, kind, version)
    specs = {name: _parse_spec(name, entry) for name, entry in entries.items()}
    if _encode_header(metadata, specs) != view[:data_start]:
        raise FormatError(f"{kind}: the header is not in canonical form", hint="see docs/bundle-format.md")
    offsets, end = _offsets(specs)
    if data_start + end != len(view):
        raise FormatError(f"{kind}: expected {end} bytes of tensors, found {len(view) - data_start}")
    return Container(metadata, specs, offsets, view[data_start:])


def _parse_json(header: bytes, kind: str) -> tuple[dict[str, str], dict[str, object]]:
    try:
        document = json.loads(header.decode("ascii"))
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{kind}: the header is not JSON in ASCII") from e
    if not isinstance(document, dict):
        raise FormatError(f"{kind}: expected a JSON object as header, found {type(document).__name__}")
    metadata = document.pop(_METADATA, None)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{kind}: expected {_METADATA} with text values in the header")
    if len(document) > MAX_TENSORS:
        raise LimitError(f"{kind}: expected at most {MAX_TENSORS} tensors, found {len(document)}")
    return metadata, document


def _verify_version(metadata: Mapping[str, str], kind: str, version: int) -> None:
    if metadata.get(FORMAT_KEY) != kind:
        raise FormatError(f"expected a file with {FORMAT_KEY} = {kind!r}, found {ascii(metadata.get(FORMAT_KEY))[:80]}")
    if metadata.get(VERSION_KEY) != str(version):
        raise VersionError(
            f"{kind}: expected format version {version}, found {ascii(metadata.get(VERSION_KEY))[:80]}",
            hint="update this side, or ask the other for a version that this side reads",
        )


def _parse_spec(name: str, entry: object) -> TensorSpec:
    if not isinstance(entry, dict):
        raise FormatError(f"tensor {ascii(name)[:80]}: expected a JSON object")
    dtype, shape = entry.get("dtype"), entry.get("shape")
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise FormatError(f"tensor {ascii(name)[:80]}: expected dtype F16 or F32, found {ascii(dtype)[:40]}")
    if not isinstance(shape, list) or len(shape) != len([size for size in shape if type(size) is int and size > 0]):
        raise FormatError(f"tensor {ascii(name)[:80]}: expected a shape of positive integers")
    if len(shape) > 3 or max(shape, default=1) >= 2**32:
        raise LimitError(f"tensor {ascii(name)[:80]}: expected at most 3 dimensions below 2**32")
    return TensorSpec(dtype, tuple(shape))


def _encode_header(metadata: Mapping[str, str], specs: Mapping[str, TensorSpec]) -> bytes:
    text = _header_json(metadata, specs)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_PREFIX_BYTES, "little") + text


def _header_json(metadata: Mapping[str, str], specs: Mapping[str, TensorSpec]) -> bytes:
    offsets, _ = _offsets(specs)
    document: dict[str, object] = {_METADATA: dict(metadata)}
    for name, spec in specs.items():
        begin = offsets[name]
        document[name] = {"dtype": spec.dtype, "shape": spec.shape, "data_offsets": (begin, begin + spec.nbytes)}
    return canonical_json(document)


def _all_metadata(kind: str, version: int, metadata: Mapping[str, str]) -> dict[str, str]:
    return {**metadata, FORMAT_KEY: kind, VERSION_KEY: str(version)}


def _offsets(specs: Mapping[str, TensorSpec]) -> tuple[dict[str, int], int]:
    offsets, end = {}, 0
    for name in tensor_order(specs):
        offsets[name] = end
        end += specs[name].nbytes
    return offsets, end
