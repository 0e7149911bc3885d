"""GGUF headers: what a model file says about itself, read and written without touching its tensors.

Rules:
- A header is untrusted input: each count and length has a named limit that is checked before memory is taken, and any
  malformed file raises a `ContractError`, nothing else.
- Metadata stay raw bytes until a value is asked for, so that a header can be copied into a merged file exactly.
  (`gguf.GGUFReader` makes an array for each token, 2 s and 160 MB for 32,000 tokens and 60,000 merges, and has no
  limits; `gguf.GGUFWriter` cannot write values that were not decoded.)

It leaves to others: tensor data, and which keys a model needs.
"""

from __future__ import annotations

import io
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gguf.constants import (
    GGML_QUANT_SIZES,
    GGUF_DEFAULT_ALIGNMENT,
    GGUF_MAGIC,
    GGUF_VERSION,
    GGMLQuantizationType,
    GGUFValueType,
    Keys,
)

from loragen.contract.errors import FormatError, LimitError

# The largest vocabulary of the supported families (Gemma 3, 262,144 tokens) takes about 10 MB of header.
MAX_HEADER_BYTES = 128 * 2**20
MAX_METADATA_KEYS = 4096
MAX_ARRAY_ITEMS = 2**22
MAX_TENSORS = 2**16
MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 2**16

_SCALARS: dict[GGUFValueType, str] = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}


@dataclass(frozen=True, slots=True)
class Value:
    """One metadata value as it stands in the file: its type and its bytes."""

    type: GGUFValueType
    raw: bytes


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: GGUF name, as `blk.3.ffn_gate.weight`.
        shape: Row-major shape; the last axis is contiguous and is the one that quantization blocks run along.
        type: Storage type.
        offset: First byte, from the start of the file.
    """

    name: str
    shape: tuple[int, ...]
    type: GGMLQuantizationType
    offset: int

    @property
    def columns(self) -> int:
        """Length of one row, in weights."""
        return self.shape[-1]

    @property
    def rows(self) -> int:
        """Number of rows, all other axes flattened."""
        return math.prod(self.shape[:-1])

    @property
    def row_bytes(self) -> int:
        """Length of one row, in bytes."""
        return row_bytes(self.columns, self.type)

    @property
    def nbytes(self) -> int:
        """Length of the tensor, in bytes."""
        return self.rows * self.row_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A GGUF header: metadata in file order, tensors in file order, and the alignment of tensor data in bytes."""

    metadata: Mapping[str, Value]
    tensors: tuple[TensorInfo, ...]
    alignment: int

    @property
    def file_bytes(self) -> int:
        """Length of the whole file, padded after the last tensor as after every other."""
        return max((padded(info.offset + info.nbytes, self.alignment) for info in self.tensors), default=0)

    def string(self, key: str) -> str | None:
        """The text under `key`; None when it is absent or of another type."""
        value = self.metadata.get(key)
        if value is None or value.type is not GGUFValueType.STRING:
            return None
        return value.raw[8:].decode("utf-8", errors="replace")

    def integer(self, key: str) -> int | None:
        """The whole number under `key`; None when it is absent or of another type."""
        value = self.metadata.get(key)
        if value is None or value.type in (GGUFValueType.STRING, GGUFValueType.ARRAY):
            return None
        number = struct.unpack(_SCALARS[value.type], value.raw)[0]
        return number if isinstance(number, int) else None

    def number(self, key: str) -> float | None:
        """The 32-bit floating point number under `key`; None when it is absent or of another type."""
        value = self.metadata.get(key)
        if value is None or value.type is not GGUFValueType.FLOAT32:
            return None
        return float(struct.unpack("<f", value.raw)[0])

    def texts(self, key: str) -> list[str] | None:
        """The list of texts under `key`; None when it is absent or of another type."""
        value = self.metadata.get(key)
        if value is None or _item_type(value) != GGUFValueType.STRING:
            return None
        found, place, raw = [], 12, value.raw
        while place < len(raw):
            start = place + 8
            place = start + int.from_bytes(raw[place:start], "little")
            found.append(raw[start:place].decode("utf-8", errors="replace"))
        return found

    def integers(self, key: str) -> list[int] | None:
        """The list of signed 32-bit numbers under `key`; None when it is absent or of another type."""
        value = self.metadata.get(key)
        if value is None or _item_type(value) != GGUFValueType.INT32:
            return None
        return list(struct.unpack(f"<{(len(value.raw) - 12) // 4}i", value.raw[12:]))


def _item_type(value: Value) -> int | None:
    return int.from_bytes(value.raw[:4], "little") if value.type is GGUFValueType.ARRAY else None


def row_bytes(columns: int, dtype: GGMLQuantizationType) -> int:
    """Bytes of a row of `columns` weights.

    Raises:
        FormatError: The row does not fill whole quantization blocks.
    """
    block, size = GGML_QUANT_SIZES[dtype]
    if columns % block:
        raise FormatError(f"a {dtype.name} row must be a multiple of {block} weights, this one has {columns}")
    return columns // block * size


def read_header(path: Path) -> Header:
    """Read the header of a GGUF file, version 2 or 3, little-endian.

    Raises:
        ContractError: The file is truncated, malformed or beyond a limit.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _Parser(file, os.fstat(file.fileno()).st_size).header()


class _Parser:
    """Walks one header, counting what it reads against the size of the file and `MAX_HEADER_BYTES`."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self._size = size
        self._left = min(size, MAX_HEADER_BYTES)

    def header(self) -> Header:
        magic, version, tensor_count, key_count = struct.unpack("<IIQQ", self._read(24))
        if magic != GGUF_MAGIC:
            raise FormatError("not a GGUF file: the first four bytes are not 'GGUF'")
        if version not in (2, GGUF_VERSION):
            raise FormatError(f"GGUF version 2 or {GGUF_VERSION} expected, this file says {version}")
        _limit("metadata keys", key_count, MAX_METADATA_KEYS)
        _limit("tensors", tensor_count, MAX_TENSORS)
        metadata: dict[str, Value] = {}
        for _ in range(key_count):
            key = self._text("a metadata key")
            if key in metadata:
                raise FormatError(f"metadata key {key!r} occurs twice")
            metadata[key] = self._value()
        bare = [self._tensor() for _ in range(tensor_count)]
        alignment = Header(metadata, (), 0).integer(Keys.General.ALIGNMENT) or GGUF_DEFAULT_ALIGNMENT
        if alignment < 1 or alignment & (alignment - 1) or alignment > 2**16:
            raise FormatError(f"the alignment must be a power of two up to 65536, this file says {alignment}")
        start = padded(self._file.tell(), alignment)
        tensors = []
        names: set[str] = set()
        for info in bare:
            if info.name in names:
                raise FormatError(f"tensor {info.name!r} occurs twice")
            names.add(info.name)
            placed = TensorInfo(info.name, info.shape, info.type, start + info.offset)
            if info.offset % alignment or placed.offset + placed.nbytes > self._size:
                raise FormatError(f"tensor {info.name!r} lies outside the file or is not aligned: is it truncated?")
            tensors.append(placed)
        return Header(metadata, tuple(tensors), alignment)

    def _read(self, count: int) -> bytes:
        if count > self._left:
            raise FormatError(f"the header is truncated or longer than {MAX_HEADER_BYTES} bytes")
        self._left -= count
        data = self._file.read(count)
        if len(data) != count:
            raise FormatError("the header is truncated")
        return data

    def _text(self, what: str) -> str:
        length = struct.unpack("<Q", self._read(8))[0]
        _limit(f"bytes of {what}", length, MAX_NAME_BYTES)
        try:
            return self._read(length).decode("utf-8")
        except UnicodeDecodeError as e:
            raise FormatError(f"{what} is not UTF-8") from e

    def _value(self) -> Value:
        kind = _value_type(struct.unpack("<I", self._read(4))[0])
        if kind is GGUFValueType.STRING:
            return Value(kind, self._string())
        if kind is not GGUFValueType.ARRAY:
            return Value(kind, self._read(struct.calcsize(_SCALARS[kind])))
        head = self._read(12)
        code, count = struct.unpack("<IQ", head)
        item = _value_type(code)
        _limit("items of a metadata array", count, MAX_ARRAY_ITEMS)
        if item is GGUFValueType.ARRAY:
            raise FormatError("nested metadata arrays are not supported")
        if item is GGUFValueType.STRING:
            raw = bytearray(head)  # grows in place: a list of 50,000 texts would take six times their bytes
            for _ in range(count):
                raw += self._string()
            return Value(kind, bytes(raw))
        return Value(kind, head + self._read(count * struct.calcsize(_SCALARS[item])))

    def _string(self) -> bytes:
        length = self._read(8)
        return length + self._read(struct.unpack("<Q", length)[0])

    def _tensor(self) -> TensorInfo:
        name = self._text("a tensor name")
        dimensions = struct.unpack("<I", self._read(4))[0]
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise FormatError(f"tensor {name!r} has {dimensions} dimensions, 1 to {MAX_DIMENSIONS} expected")
        shape = struct.unpack(f"<{dimensions}Q", self._read(8 * dimensions))[::-1]
        code, offset = struct.unpack("<IQ", self._read(12))
        try:
            dtype = GGMLQuantizationType(code)
        except ValueError as e:
            raise FormatError(f"tensor {name!r} has the unknown type {code}") from e
        if 0 in shape:
            raise FormatError(f"tensor {name!r} is empty")
        return TensorInfo(name, shape, dtype, offset)


def _value_type(code: int) -> GGUFValueType:
    try:
        return GGUFValueType(code)
    except ValueError as e:
        raise FormatError(f"unknown metadata type {code}") from e


def _limit(what: str, count: int, limit: int) -> None:
    if count > limit:
        raise LimitError(f"at most {limit} {what} expected, this file says {count}")


def padded(offset: int, alignment: int) -> int:
    """The first multiple of `alignment` at or after `offset`."""
    return -(-offset // alignment) * alignment


def lay_out(
    tensors: Sequence[tuple[str, tuple[int, ...], GGMLQuantizationType]],
    metadata: Mapping[str, Value],
    alignment: int = GGUF_DEFAULT_ALIGNMENT,
) -> tuple[bytes, Header]:
    """Encode a header for tensors that follow it in order.

    Args:
        tensors: Name, row-major shape and type of each tensor.
        metadata: Values in the order in which they are written.
        alignment: Bytes; each tensor starts at a multiple of it.

    Returns:
        The encoded header, padded up to the first tensor, and the header with final offsets.
    """
    offset = 0
    relative = []
    out = io.BytesIO()
    out.write(struct.pack("<IIQQ", GGUF_MAGIC, GGUF_VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        out.write(_string(key) + struct.pack("<I", value.type) + value.raw)
    for name, shape, dtype in tensors:
        info = TensorInfo(name, shape, dtype, offset)
        relative.append(info)
        out.write(_string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1]))
        out.write(struct.pack("<IQ", dtype, offset))
        offset = padded(offset + info.nbytes, alignment)
    start = padded(out.tell(), alignment)
    out.write(bytes(start - out.tell()))
    placed = tuple(TensorInfo(t.name, t.shape, t.type, start + t.offset) for t in relative)
    return out.getvalue(), Header(dict(metadata), placed, alignment)


def text(value: str) -> Value:
    """A string value."""
    return Value(GGUFValueType.STRING, _string(value))


def _scalar(kind: GGUFValueType, value: float) -> Value:
    """A number or a truth value."""
    return Value(kind, struct.pack(_SCALARS[kind], value))


uint32 = partial(_scalar, GGUFValueType.UINT32)
float32 = partial(_scalar, GGUFValueType.FLOAT32)
boolean = partial(_scalar, GGUFValueType.BOOL)


def texts(values: Sequence[str]) -> Value:
    """An array of strings."""
    head = struct.pack("<IQ", GGUFValueType.STRING, len(values))
    return Value(GGUFValueType.ARRAY, head + b"".join(_string(value) for value in values))


def _numbers(kind: GGUFValueType, values: Sequence[float]) -> Value:
    """An array of numbers of one kind."""
    head = struct.pack("<IQ", kind, len(values))
    return Value(GGUFValueType.ARRAY, head + struct.pack(f"<{len(values)}{_SCALARS[kind][1]}", *values))


int32s = partial(_numbers, GGUFValueType.INT32)
float32s = partial(_numbers, GGUFValueType.FLOAT32)


def _string(value: str) -> bytes:
    data = value.encode("utf-8")
    return struct.pack("<Q", len(data)) + data
