"""Names, numbers, values and digests: what may exist, and how refusals read."""

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loragen.contract import errors, limits
from loragen.contract.bank import Bank, write_bank
from loragen.contract.bundle import Bundle, content_id, encode_bundle
from loragen.contract.digest import canonical_json, file_sha256, model_digest, sha256_hex
from loragen.contract.errors import ContractError, FormatError, LimitError, MismatchError, NonFiniteError
from loragen.contract.fields import format_decimal, parse_decimal
from loragen.contract.lora import EdgeShape, Lora
from loragen.contract.names import gguf_name, peft_name, verify_device_name, verify_digest, verify_model_id, verify_name

SHAPE = EdgeShape(layers=1, hidden=4, intermediate=6)


@pytest.mark.parametrize("name", ["a", "7", "tool-router", "v1.2_b", "a" * 64])
def test_plain_name_is_accepted(name: str) -> None:
    assert verify_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "a" * 65, "-a", "a-", ".", "..", "a..b", "a/b", "a\\b", "a b", "a\n", "\n", "ä", "ａ", "a\0", "~", "%2e"],
)
def test_name_that_could_be_a_path_or_a_trick_is_refused(name: str) -> None:
    with pytest.raises(FormatError) as raised:
        verify_name(name)
    assert str(raised.value).isprintable()
    assert raised.value.hint


def test_device_name_may_be_as_long_as_a_dns_name() -> None:
    assert verify_device_name("n" * 63 + ".x" * 95) == "n" * 63 + ".x" * 95
    for name in ("a" * 254, "", "A", "a..b", "../a", "a\n"):
        with pytest.raises(FormatError):
            verify_device_name(name)


@pytest.mark.parametrize("model_id", ["nano-edge", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", "Qwen/Qwen2.5-0.5B"])
def test_hugging_face_id_is_accepted(model_id: str) -> None:
    assert verify_model_id(model_id) == model_id


@pytest.mark.parametrize("model_id", ["", "/a", "a/", "a//b", "a/b/c", "../a", "a/..", "a b", "a\n", "a" * 97, "-a/b"])
def test_model_id_that_could_be_a_path_is_refused(model_id: str) -> None:
    with pytest.raises(FormatError):
        verify_model_id(model_id)


@given(st.text())
def test_any_text_is_a_name_or_a_format_error(text: str) -> None:
    for verify in (verify_name, verify_device_name, verify_model_id, verify_digest):
        with suppress(FormatError):
            assert verify(text) == text


@given(st.text(alphabet="\x00/\U0001f600é", min_size=1, max_size=300))
def test_refusal_of_a_hostile_name_is_short_and_printable(text: str) -> None:
    for verify in (verify_name, verify_device_name, verify_model_id, verify_digest):
        with pytest.raises(FormatError) as raised:
            verify(text)
        assert str(raised.value).isprintable()
        assert len(str(raised.value)) < 200


def test_tensor_names_are_those_of_the_two_libraries() -> None:
    assert peft_name(3, "gate", "A") == "base_model.model.model.layers.3.mlp.gate_proj.lora_A.weight"
    assert gguf_name(3, "gate") == "blk.3.ffn_gate.weight"


@given(st.integers(0, 10**12).map(lambda millionths: millionths / 1_000_000))
def test_decimal_with_six_places_has_one_text(value: float) -> None:
    text = format_decimal(value, "x")
    assert parse_decimal(text, "x") == value
    assert format_decimal(parse_decimal(text, "x"), "x") == text


@pytest.mark.parametrize("value", [1e-7, 1 / 3, -1.0, float("nan"), float("inf"), 1e300, 5e-324])
def test_number_without_a_short_decimal_is_refused(value: float) -> None:
    with pytest.raises(FormatError):
        format_decimal(value, "x")


@given(st.text(max_size=12))
def test_any_text_is_the_one_form_of_a_decimal_or_refused(text: str) -> None:
    try:
        value = parse_decimal(text, "x")
    except FormatError:
        return
    assert format_decimal(value, "x") == text


@pytest.mark.parametrize(
    ("sizes", "error"),
    [
        ((0, 4, 6), FormatError),
        ((1, -4, 6), FormatError),
        ((True, 4, 6), FormatError),
        ((257, 4, 6), LimitError),
        ((1, 65_537, 6), LimitError),
        ((1, 4, 262_145), LimitError),
    ],
)
def test_edge_shape_out_of_range_is_refused(sizes: tuple[int, int, int], error: type[ContractError]) -> None:
    with pytest.raises(error):
        EdgeShape(*sizes)


def test_down_projection_narrows() -> None:
    assert [SHAPE.in_out(projection) for projection in ("gate", "up", "down")] == [(4, 6), (4, 6), (6, 4)]


@pytest.mark.parametrize(
    "change",
    [
        lambda factors: {**factors, (0, "down"): factors[0, "gate"]},
        lambda factors: {**factors, (0, "gate"): factors[0, "gate"][::-1]},
        lambda factors: {**factors, (1, "gate"): factors[0, "gate"]},
        lambda factors: {block: pair for block, pair in factors.items() if block != (0, "up")},
        lambda factors: {block: tuple(factor.astype(np.float32) for factor in pair) for block, pair in factors.items()},
    ],
    ids=["shape of another projection", "A and B swapped", "layer too many", "projection missing", "float32"],
)
def test_lora_that_does_not_fit_its_shape_cannot_be_made(make_bundle: Callable[..., Bundle], change: Callable) -> None:
    lora = make_bundle(SHAPE).lora
    with pytest.raises(FormatError):
        Lora(lora.shape, lora.rank, lora.alpha, change(lora.factors))


@pytest.mark.parametrize("change", [{"layers": 2}, {"rank": 3}, {"alpha": 5.0}])
def test_bundle_whose_header_contradicts_the_lora_cannot_be_made(
    make_bundle: Callable[..., Bundle], change: dict[str, int]
) -> None:
    bundle = make_bundle(SHAPE)
    with pytest.raises(MismatchError):
        Bundle(replace(bundle.header, **change), bundle.lora)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_never_written(
    make_bundle: Callable[..., Bundle], make_bank: Callable[..., Bank], tmp_path: Path, number: float
) -> None:
    bundle = make_bundle(SHAPE)
    bundle.lora.factors[0, "down"][1][0, 0] = number
    with pytest.raises(NonFiniteError, match="layer 0 down B"):
        encode_bundle(bundle)
    header = make_bank(SHAPE).header
    tensors = {name: np.full(spec.shape, number, np.float16) for name, spec in header.tensor_specs().items()}
    with pytest.raises(NonFiniteError):
        write_bank(tmp_path / "bank", header, tensors)
    assert list(tmp_path.iterdir()) == []


def test_bundle_does_not_depend_on_the_layout_of_its_arrays(make_bundle: Callable[..., Bundle]) -> None:
    """Column order in memory and another order of the dict give the same bytes."""
    bundle = make_bundle(SHAPE)
    factors = {
        block: tuple(map(np.asfortranarray, bundle.lora.factors[block])) for block in reversed(bundle.lora.factors)
    }
    other = Bundle(bundle.header, replace(bundle.lora, factors=factors))
    assert content_id(encode_bundle(other)) == content_id(encode_bundle(bundle))


def test_model_digest_covers_configuration_and_weights_only(tmp_path: Path) -> None:
    """The documented definition, and that a tokenizer may change."""
    (tmp_path / "config.json").write_bytes(b"{}")
    (tmp_path / "b.safetensors").write_bytes(b"b")
    (tmp_path / "a.safetensors").write_bytes(b"a")
    (tmp_path / "tokenizer.json").write_bytes(b"1")
    listing = {name: hashlib.sha256(content).hexdigest() for name, content in
               (("config.json", b"{}"), ("a.safetensors", b"a"), ("b.safetensors", b"b"))}  # fmt: skip
    digest = model_digest(tmp_path)
    assert digest == hashlib.sha256(json.dumps(listing, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "tokenizer.json").write_bytes(b"2")
    assert model_digest(tmp_path) == digest
    (tmp_path / "a.safetensors").write_bytes(b"x")
    assert model_digest(tmp_path) != digest


@pytest.mark.parametrize("present", [[], ["config.json"], ["model.safetensors"]])
def test_directory_that_is_no_model_has_no_digest(tmp_path: Path, present: list[str]) -> None:
    for name in present:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(FormatError, match=r"config\.json"):
        model_digest(tmp_path)


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_hex(b"abc") == file_sha256(tmp_path / "file") == content_id(memoryview(b"abc")) == expected


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, "ä"], "a": {}}) == b'{"a":{},"b":[1,"\\u00e4"]}'


def test_documented_limits_are_those_of_the_code() -> None:
    """The table in docs/bundle-format.md, value for value."""
    text = (Path(__file__).parents[3] / "docs" / "bundle-format.md").read_text()
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "": 1}
    documented = {
        name: int(number.replace(",", "")) * units[unit]
        for name, number, unit in re.findall(r"\| `(MAX_\w+)` \| ([\d,]+) ?(\w*) ", text)
    }
    values = {name: value for name, value in vars(limits).items() if name.startswith("MAX_")}
    # This one has no row: the text about channels says it.
    assert values.pop("MAX_CHANNEL_VERSION") == 2**53 - 1
    assert documented == values


def test_every_error_has_its_own_code() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ContractError)]
    assert len({error.code for error in classes}) == len(classes) == 6


def test_bank_that_is_absent_or_empty_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Bank.open(tmp_path / "bank")
    (tmp_path / "bank").touch()
    with pytest.raises(FormatError, match="0 bytes"):
        Bank.open(tmp_path / "bank")


def test_bank_outlives_its_file_name_and_is_read_only(make_bank: Callable[..., Bank], tmp_path: Path) -> None:
    """A bank that was replaced on disk stays what it was for whoever has it open."""
    bank = make_bank(SHAPE)
    (tmp_path / "bank").write_bytes(bank.data)
    opened = Bank.open(tmp_path / "bank", expected_digest=bank.digest)
    (tmp_path / "bank").unlink()
    for mine, theirs in zip(opened.factors(0, "up"), bank.factors(0, "up"), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        with pytest.raises(ValueError, match="read-only"):
            mine[...] = 0
    assert opened.data.readonly


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "layers.0.up.A"},
        lambda tensors: tensors | {"layers.0.up.C": tensors["layers.0.up.A"]},
        lambda tensors: tensors | {"layers.0.up.A": tensors["layers.0.up.A"].astype(np.float32)},
        lambda tensors: tensors | {"layers.0.up.A": tensors["layers.0.up.A"].swapaxes(1, 2)},
    ],
    ids=["missing", "unknown", "float32", "transposed"],
)
def test_bank_of_wrong_tensors_is_not_written(make_bank: Callable[..., Bank], tmp_path: Path, change: Callable) -> None:
    header = make_bank(SHAPE).header
    tensors = {name: np.ones(spec.shape, np.float16) for name, spec in header.tensor_specs().items()}
    with pytest.raises(FormatError):
        write_bank(tmp_path / "bank", header, change(tensors))
    assert list(tmp_path.iterdir()) == []
