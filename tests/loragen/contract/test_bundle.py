"""Bundles: what may be made, written and read."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loragen.contract.answer import AnswerContract
from loragen.contract.bank import Bank, write_bank
from loragen.contract.bundle import Bundle, content_id, encode_bundle, parse_bundle
from loragen.contract.container import TensorSpec, encode_header
from loragen.contract.errors import FormatError, LimitError, MismatchError, NonFiniteError
from loragen.contract.limits import MAX_LAYERS, MAX_RESIDUAL_PROMPT_BYTES
from loragen.contract.lora import EdgeShape
from tests.loragen.contract.files import GATE_A, GATE_B, canonical, split

SHAPE = EdgeShape(layers=1, hidden=4, intermediate=6)


@pytest.mark.parametrize("change", [{"layers": 2}, {"edge_model_hidden": 6}, {"edge_model_intermediate": 4}])
def test_bundle_whose_header_contradicts_the_lora_cannot_be_made(
    make_bundle: Callable[..., Bundle], change: dict[str, int]
) -> None:
    bundle = make_bundle(SHAPE)
    with pytest.raises(MismatchError):
        Bundle(replace(bundle.header, **change), bundle.lora)


def test_bundle_of_some_projections_is_read_back(make_bundle: Callable[..., Bundle]) -> None:
    shape = EdgeShape(layers=3, hidden=4, intermediate=6)
    answer = AnswerContract("choice", ("yes", "no"), (7, 3))
    bundle = make_bundle(shape, ranks={(2, "down"): 5, (1, "up"): 1}, answer=answer)
    parsed = parse_bundle(encode_bundle(bundle))
    assert parsed.header == bundle.header
    assert parsed.header.answer == answer
    assert parsed.lora.ranks == {(1, "up"): 1, (2, "down"): 5}
    for block, pair in parsed.lora.factors.items():
        for found, expected in zip(pair, bundle.lora.factors[block], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("names", [(), (GATE_A,), (GATE_B,)], ids=["no factors", "A alone", "B alone"])
def test_bundle_without_a_pair_of_factors_is_refused(golden_bytes: Callable[[str], bytes], names: tuple[str]) -> None:
    header, _ = split(golden_bytes("bundle"))
    specs = {name: TensorSpec("F16", tuple(header[name]["shape"])) for name in names}
    frame = encode_header("bundle", 1, header["__metadata__"], specs)
    with pytest.raises(FormatError):
        parse_bundle(frame + bytes(sum(spec.nbytes for spec in specs.values())))


def test_longest_answer_contract_fits_into_a_header(make_bundle: Callable[..., Bundle]) -> None:
    """Its text is JSON inside JSON, which doubles a quotation mark twice, beside the tensors of the deepest model."""
    shape = EdgeShape(MAX_LAYERS, hidden=1, intermediate=1)
    answer = AnswerContract("choice", tuple(f"{number:03}" + 397 * '"' for number in range(256)))
    assert parse_bundle(encode_bundle(make_bundle(shape, answer=answer))).header.answer == answer
    longer = AnswerContract("choice", tuple(199 * "é" + chr(number) for number in range(256)))
    with pytest.raises(LimitError, match="answer"):
        encode_bundle(make_bundle(shape, answer=longer))


def test_residual_prompt_is_kept_as_it_is(make_bundle: Callable[..., Bundle]) -> None:
    """White space too, and the longest; it is part of the id."""
    plain = content_id(encode_bundle(make_bundle(SHAPE)))
    for text in (" Sort each mail.\r\n\n\u2028\u202e<|im_end|> 集\t", "é" * (MAX_RESIDUAL_PROMPT_BYTES // 2)):
        encoded = encode_bundle(make_bundle(SHAPE, residual_prompt=text))
        assert parse_bundle(encoded).header.residual_prompt == text
        assert content_id(encoded) != plain


def test_call_saves_no_fewer_than_no_tokens(make_bundle: Callable[..., Bundle]) -> None:
    header = replace(make_bundle(SHAPE).header, residual_prompt="Sort.", residual_prompt_tokens=30)
    assert (header.prompt_tokens, header.tokens_saved_per_call) == (100, 70)
    assert replace(header, prompt_tokens=29).tokens_saved_per_call == 0


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


@pytest.mark.parametrize(
    "number", [b"\x00\x7e", b"\x01\xfc", b"\x00\x7c", b"\x00\xfc"], ids=["nan", "-nan", "inf", "-inf"]
)
@pytest.mark.parametrize("position", [0, -2])
def test_bundle_with_a_number_that_is_not_finite_is_refused(
    golden_bytes: Callable[[str], bytes], number: bytes, position: int
) -> None:
    header, data = split(golden_bytes("bundle"))
    changed = bytearray(data)
    changed[position : position + 2 or None] = number
    with pytest.raises(NonFiniteError):
        parse_bundle(canonical(header, bytes(changed)))
