"""Hostile files: each is refused with the right error, and before memory is taken for what it announces."""

import json
import tracemalloc
from collections.abc import Callable

import pytest

from loragen.contract.container import TensorSpec, encode_header
from loragen.contract.errors import ContractError, FormatError, LimitError, VersionError
from loragen.contract.limits import MAX_HEADER_BYTES
from tests.loragen.contract.files import (
    GATE_A,
    GATE_B,
    Edit,
    canonical,
    framed,
    metadata,
    split,
    tensor,
    without,
)

KINDS = ("bundle", "recipe", "bank")


FRAMES: dict[str, tuple[Callable[[bytes], bytes], type[ContractError]]] = {
    "empty": (lambda _: b"", FormatError),
    "shorter than the prefix": (lambda data: data[:7], FormatError),
    "prefix only": (lambda data: data[:8], FormatError),
    "half of the header": (lambda data: data[:100], FormatError),
    "last byte missing": (lambda data: data[:-1], FormatError),
    "one byte more": (lambda data: data + b"\0", FormatError),
    "header of 2**64 - 1 bytes": (lambda data: b"\xff" * 8 + data[8:], LimitError),
    "header just over the limit": (lambda data: (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + data[8:], LimitError),
    "header longer than the file": (lambda data: (400_000).to_bytes(8, "little") + data[8:], FormatError),
    "empty header": (lambda data: framed(b"", split(data)[1]), FormatError),
    "header not JSON": (lambda data: framed(b"{]", split(data)[1]), FormatError),
    "header a list": (lambda data: framed(b"[]", split(data)[1]), FormatError),
    "header a number": (lambda data: framed(b"1" * 5000, split(data)[1]), FormatError),
    "header not UTF-8": (lambda data: data.replace(b"golden", b"gold\xff\xfe"), FormatError),
    "header nested 100,000 deep": (lambda data: framed(b"[" * 100_000, split(data)[1]), FormatError),
    "header objects nested 50,000 deep": (lambda data: framed(b'{"a":' * 50_000, split(data)[1]), FormatError),
    "white space in the header": (
        lambda data: framed(json.dumps(split(data)[0]).encode(), split(data)[1]),
        FormatError,
    ),
    "keys not sorted": (
        lambda data: framed(
            json.dumps(dict(reversed(split(data)[0].items())), separators=(",", ":")).encode(), split(data)[1]
        ),
        FormatError,
    ),
    "padding of eight more spaces": (
        lambda data: framed(data[8 : -len(split(data)[1])] + b" " * 8, split(data)[1]),
        FormatError,
    ),
    "a key twice": (
        lambda data: framed(
            data[8 : -len(split(data)[1])]
            .rstrip()
            .replace(b'{"__metadata__":{', b'{"__metadata__":{},"__metadata__":{', 1),
            split(data)[1],
        ),
        FormatError,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", FRAMES)
def test_broken_frame_is_refused(
    parse: Callable[[str, bytes], object], golden_bytes: Callable[[str], bytes], kind: str, attack: str
) -> None:
    damage, error = FRAMES[attack]
    with pytest.raises(error):
        parse(kind, damage(golden_bytes(kind)))


COMMON_EDITS: dict[str, tuple[Edit, type[ContractError]]] = {
    "no metadata": (without("__metadata__"), FormatError),
    "metadata not an object": (lambda header: header.update(__metadata__=[]), FormatError),
    "metadata with a number": (lambda header: header["__metadata__"].update({"loragen.edge_model.id": 2}), FormatError),
    "of another kind": (metadata(format="adapter"), FormatError),
    "of no kind": (without("__metadata__", "loragen.format"), FormatError),
    "version 2": (metadata(version="2"), VersionError),
    "version 01": (metadata(version="01"), VersionError),
    "no version": (without("__metadata__", "loragen.version"), VersionError),
    "unknown field": (metadata(created="today"), FormatError),
    "missing field": (without("__metadata__", "loragen.edge_model.id"), FormatError),
    "generator named by a path": (metadata(generator__id="../../etc/passwd"), FormatError),
    "generator named by a dotted path": (metadata(generator__id="a..b"), FormatError),
    "generator in upper case": (metadata(generator__id="Golden"), FormatError),
    "generator with a line feed": (metadata(generator__id="golden\n"), FormatError),
    "generator with a null byte": (metadata(generator__id="gol\0den"), FormatError),
    "generator of a lone surrogate": (metadata(generator__id="\ud800"), FormatError),
    "model named by a path": (metadata(edge_model__id="/etc/passwd"), FormatError),
    "model named by a parent": (metadata(edge_model__id="../edge"), FormatError),
    "model with two slashes": (metadata(edge_model__id="a/b/c"), FormatError),
    "digest in upper case": (metadata(edge_model__digest="B" * 64), FormatError),
    "digest too short": (metadata(edge_model__digest="b" * 63), FormatError),
    "digest empty": (metadata(edge_model__digest=""), FormatError),
    "a tensor more": (
        lambda header: header.update(x={"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}),
        FormatError,
    ),
    "a tensor that is a list": (lambda header: header.update(x=[]), FormatError),
    "too many tensors": (lambda header: header.update({f"t{i}": {} for i in range(3585)}), LimitError),
}


EDITS: dict[str, dict[str, tuple[Edit, type[ContractError]]]] = {
    "bundle": {
        "no foreign format": (without("__metadata__", "format"), FormatError),
        "another foreign format": (lambda header: header["__metadata__"].update(format="np"), FormatError),
        "tensor outside the layers": (
            lambda header: header.update({GATE_A.replace(".0.", ".9."): header.pop(GATE_A)}),
            FormatError,
        ),
        "tensor named by a path": (lambda header: header.update({"../../" + GATE_A: header.pop(GATE_A)}), FormatError),
        "B transposed": (tensor(GATE_B, shape=[2, 6]), FormatError),
        "A of another rank": (tensor(GATE_A, shape=[4, 2]), FormatError),
        "A flat": (tensor(GATE_A, shape=[8]), FormatError),
        "A of four dimensions": (tensor(GATE_A, shape=[1, 1, 2, 4]), LimitError),
        "A of no numbers": (tensor(GATE_A, shape=[0, 4]), FormatError),
        "A of a negative size": (tensor(GATE_A, shape=[-2, -4]), FormatError),
        "A of a fraction": (tensor(GATE_A, shape=[2.0, 4]), FormatError),
        "A of true": (tensor(GATE_A, shape=[True, 8]), FormatError),
        "A of 2**32 numbers": (tensor(GATE_A, shape=[2, 2**32]), LimitError),
        "A larger than the file": (tensor(GATE_A, shape=[2, 2**31]), FormatError),
        "A in float64": (tensor(GATE_A, dtype="F64"), FormatError),
        "A in bfloat16": (tensor(GATE_A, dtype="BF16"), FormatError),
        "A without dtype": (without(GATE_A, "dtype"), FormatError),
        "A where B is": (tensor(GATE_A, data_offsets=[16, 32]), FormatError),
        "A behind the end": (tensor(GATE_A, data_offsets=[10**9, 10**9 + 16]), FormatError),
        "A with a field more": (tensor(GATE_A, note="x"), FormatError),
        "no layers": (metadata(layers="0"), FormatError),
        "257 layers": (metadata(layers="257"), LimitError),
        "layers of twenty digits": (metadata(layers="9" * 20), FormatError),
        "layers with a sign": (metadata(layers="+2"), FormatError),
        "layers in Arabic digits": (metadata(layers="٢"), FormatError),
        "layers with a leading zero": (metadata(layers="02"), FormatError),
        "fewer layers than it has factors for": (metadata(layers="1"), FormatError),
        "another width": (metadata(edge_model__hidden="5"), FormatError),
        "width over the limit": (metadata(edge_model__intermediate="262145"), LimitError),
        "answer that is not JSON": (metadata(answer="text"), FormatError),
        "answer in another form": (metadata(answer='{"type": "text"}'), FormatError),
        "answer of an unknown kind": (metadata(answer='{"type":"poem"}'), FormatError),
        "answer over its limit": (metadata(answer=" " * 300_000), LimitError),
        "prompt of too many tokens": (metadata(prompt_tokens="1048577"), LimitError),
        "residual prompt without a count": (metadata(residual_prompt="Sort."), FormatError),
        "residual prompt with NUL": (metadata(residual_prompt="a\0b", residual_prompt_tokens="2"), FormatError),
        "residual prompt of half a surrogate pair": (
            metadata(residual_prompt="\ud800", residual_prompt_tokens="1"),
            FormatError,
        ),
        "residual prompt over its limit": (
            metadata(residual_prompt="x" * 2049, residual_prompt_tokens="9"),
            LimitError,
        ),
        "count without a residual prompt": (metadata(residual_prompt_tokens="1"), FormatError),
        "no residual prompt": (without("__metadata__", "loragen.residual_prompt"), FormatError),
    },
    "recipe": {
        "gates under another name": (lambda header: header.update(gate=header.pop("gates")), FormatError),
        "gates in float16": (tensor("gates", dtype="F16", shape=[2, 1, 6]), FormatError),
        "gates of two dimensions": (tensor("gates", shape=[2, 3]), FormatError),
        "two groups": (tensor("gates", shape=[1, 2, 3]), FormatError),
        "gates larger than the file": (tensor("gates", shape=[2**31, 1, 2**31]), FormatError),
        "codes without keys": (metadata(answer='{"choices":["a"],"codes":[1],"type":"choice"}'), FormatError),
        "answer in another form": (metadata(answer='{ "type":"text"}'), FormatError),
        "residual prompt without a count": (metadata(residual_prompt="Sort."), FormatError),
        "residual prompt over its limit": (
            metadata(residual_prompt="x" * 2049, residual_prompt_tokens="9"),
            LimitError,
        ),
        "bank digest not a digest": (metadata(bank__digest="bank"), FormatError),
    },
    "bank": {
        "alpha not a number": (metadata(alpha="nan"), FormatError),
        "alpha infinite": (metadata(alpha="inf"), FormatError),
        "alpha zero": (metadata(alpha="0"), FormatError),
        "alpha negative": (metadata(alpha="-4"), FormatError),
        "alpha in another form": (metadata(alpha="4.0"), FormatError),
        "alpha with an exponent": (metadata(alpha="4e0"), FormatError),
        "alpha too large": (metadata(alpha="65537"), LimitError),
        "choice head that is not JSON": (metadata(choice="none"), FormatError),
        "choice head without its tensors": (metadata(choice='{"codes":[7],"first_layer":0,"rank":1}'), FormatError),
        "choice head behind the last layer": (metadata(choice='{"codes":[7],"first_layer":2,"rank":1}'), LimitError),
        "fewer layers adapted": (metadata(first_layer="1"), FormatError),
        "no layer adapted": (metadata(first_layer="2"), LimitError),
        "unknown mix": (metadata(mix="product"), FormatError),
        "two groups": (metadata(groups="2"), FormatError),
        "more experts": (metadata(experts="4"), FormatError),
        "experts over the limit": (metadata(experts="1025"), LimitError),
        "another width": (metadata(edge_model__hidden="8"), FormatError),
        "width over the limit": (metadata(edge_model__hidden="65537"), LimitError),
        "terabytes of experts": (
            metadata(
                edge_model__hidden="65536", edge_model__intermediate="262144", experts="1024", rank="1024", layers="256"
            ),
            LimitError,
        ),
        "tensor missing": (without("layers.1.up.A"), FormatError),
    },
}


EDIT_CASES = [(kind, name) for kind in KINDS for name in (*COMMON_EDITS, *EDITS[kind])]


@pytest.mark.parametrize(("kind", "attack"), EDIT_CASES)
def test_edited_header_is_refused(
    parse: Callable[[str, bytes], object], golden_bytes: Callable[[str], bytes], kind: str, attack: str
) -> None:
    """The header is canonical JSON again after the edit, so that what it says is what is refused."""
    edit, error = (COMMON_EDITS | EDITS[kind])[attack]
    header, data = split(golden_bytes(kind))
    edit(header)
    with pytest.raises(error) as raised:
        parse(kind, canonical(header, data))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("kind", KINDS)
def test_file_over_its_size_limit_is_refused(
    parse: Callable[[str, bytes], object],
    golden_bytes: Callable[[str], bytes],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    data = golden_bytes(kind)
    monkeypatch.setattr(f"loragen.contract.{kind}.MAX_{kind.upper()}_BYTES", len(data) - 1)
    with pytest.raises(LimitError, match=str(len(data))):
        parse(kind, data)


@pytest.mark.parametrize(
    ("kind", "name", "spec"),
    [
        ("bundle", GATE_A, TensorSpec("F16", (2**31, 2**31))),
        ("recipe", "gates", TensorSpec("F32", (256, 3, 2**31))),
        ("bank", "layers.0.gate.A", TensorSpec("F16", (1024, 1024, 2**31))),
    ],
    ids=KINDS,
)
def test_announced_sizes_take_no_memory(
    parse: Callable[[str, bytes], object], golden_bytes: Callable[[str], bytes], kind: str, name: str, spec: TensorSpec
) -> None:
    """A header that announces terabytes, canonical and with offsets that agree, is refused within a megabyte."""
    header, data = split(golden_bytes(kind))
    fields = header.pop("__metadata__")
    specs = {other: TensorSpec(entry["dtype"], tuple(entry["shape"])) for other, entry in header.items()}
    attack = encode_header(kind, 1, fields, specs | {name: spec}) + data
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="bytes of tensors"):
            parse(kind, attack)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
