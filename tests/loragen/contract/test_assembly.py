"""Assembly: the bits of the plain reference, on every machine, whatever the processor does with subnormal numbers."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loragen.contract.answer import AnswerContract
from loragen.contract.assembly import assemble, build_bundle, measure_bundle
from loragen.contract.bank import Bank
from loragen.contract.bundle import parse_bundle
from loragen.contract.choice_head import ChoiceHeadLayout
from loragen.contract.errors import ContractError, FormatError, LimitError, MismatchError, NonFiniteError
from loragen.contract.lora import Block, EdgeShape
from loragen.contract.mixes import MIXES, Mix
from loragen.contract.names import PROJECTIONS
from loragen.contract.recipe import Recipe, canonical_gates, canonical_keys, gates_digest, parse_recipe

SHAPE = EdgeShape(layers=2, hidden=3, intermediate=5)
EXPERTS, RANK = 3, 2

# Zeros, plain gates and ones whose products are subnormal; apart from them, lists that mostly overflow.
PLAIN = st.just(0.0) | st.floats(-2, 2, width=32) | st.floats(-(2.0**-110), 2.0**-110, width=32)
GATES = st.one_of(
    st.lists(PLAIN, min_size=18, max_size=18),
    st.lists(st.floats(-70_000, 70_000, width=32), min_size=18, max_size=18),
    st.lists(st.floats(width=32), min_size=18, max_size=18),
)


def reference_factors(reference: ModuleType, bank: Bank, gates: np.ndarray) -> dict[Block, list[list[float]]]:
    """The factors of each projection that has some, as flat lists, by the loops of golden/reference.py."""
    scale = reference.scale(bank.header.alpha, RANK)
    result = {}
    for layer, projection in SHAPE.blocks():
        group = PROJECTIONS.index(projection) if gates.shape[1] == 3 else 0
        chosen = [float(gate) for gate in gates[layer, group]]
        if not any(chosen):
            continue
        a, b = (experts.astype(np.float64).tolist() for experts in bank.factors(layer, projection))
        factors = reference.mix(bank.header.mix, chosen, a, b, scale)
        result[layer, projection] = [reference.flat(rows) for rows in factors]
    return result


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("mix", MIXES)
@given(values=GATES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_assembly_has_the_bits_of_the_plain_loops(
    make_bank: Callable[..., Bank], reference: ModuleType, mix: Mix, groups: int, values: list[float]
) -> None:
    """numpy against scalar loops for any gates; where the loops overflow float16, assembly refuses."""
    bank = make_bank(SHAPE, groups=groups, experts=EXPERTS, rank=RANK, alpha=0.7, mix=mix)
    raw = np.array(values[: 6 * groups], np.float32).reshape(2, groups, EXPERTS)
    if not np.isfinite(raw).all():
        with pytest.raises(NonFiniteError):
            assemble(bank, raw)
        return
    try:
        expected = reference_factors(reference, bank, canonical_gates(raw))
    except OverflowError:
        with pytest.raises(NonFiniteError):
            assemble(bank, raw)
        return
    if not expected:
        with pytest.raises(FormatError, match="not zero"):
            assemble(bank, raw)
        return
    lora = assemble(bank, raw)
    assert lora.factors.keys() == expected.keys()
    for block, pair in lora.factors.items():
        for factor, numbers in zip(pair, expected[block], strict=True):
            assert factor.tobytes() == np.array(numbers, np.float16).tobytes()


@pytest.mark.parametrize("mix", MIXES)
def test_assembly_ignores_flushing_of_subnormals(golden: Path, make_bank: Callable[..., Bank], mix: Mix) -> None:
    """torch can switch a thread to flush subnormal numbers; the bundle stays the same."""
    torch = pytest.importorskip("torch")
    tiny = np.array([[[1e-38, -1e-36, 3e-39]], [[-1e-40, 0.5, -2e-38]]], np.float32)
    bank = make_bank(SHAPE, mix=mix, scale=1e-4)
    golden_bank = Bank.open(golden / f"bank-1-{mix}.safetensors")
    recipe = parse_recipe((golden / f"recipe-1-{mix}.safetensors").read_bytes())

    def everything() -> list[bytes]:
        factors = assemble(bank, tiny).factors.values()
        return [build_bundle(golden_bank, recipe), *(factor.tobytes() for pair in factors for factor in pair)]

    expected = everything()
    assert torch.set_flush_denormal(True)
    try:
        assert np.float32(1e-30) * np.float32(1e-10) == 0
        assert everything() == expected
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize(
    ("gate", "number"),
    [(2.0**-11 + 2.0**-30, 1.0), (float.fromhex("0x1.ff901cp-12"), 1 + 2.0**-10)],
    ids=["sums are rounded to float32", "products are rounded to float32"],
)
def test_no_operation_keeps_more_than_float32(make_bank: Callable[..., Bank], gate: float, number: float) -> None:
    """1 + gate * number is 1.0 in float16; sums in float64, or a fused multiply and add, would give the next number."""
    bank = make_bank(
        EdgeShape(layers=1, hidden=1, intermediate=1),
        experts=2,
        rank=1,
        tensors={"layers.0.up.A": np.array([1.0, number], np.float16).reshape(2, 1, 1)},
    )
    exact = Fraction(1) + Fraction(float(np.float32(gate))) * Fraction(number)
    assert exact > 1 + Fraction(1, 2**11)  # more than half way to the next number
    lora = assemble(bank, np.array([[[1.0, gate]]], np.float32))
    assert lora.factors[0, "up"][0][0, 0] == 1.0


def test_parameters_keep_the_rank_and_mix_both_factors(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(SHAPE, alpha=8.0)
    gates = np.array([[[0.5, 0, 0.25]], [[0, 1, 0]]], np.float32)
    lora = assemble(bank, gates)
    assert set(lora.ranks.values()) == {RANK}
    for (layer, projection), pair in lora.factors.items():
        for factor, experts, scale in zip(pair, bank.factors(layer, projection), (1, 4), strict=True):
            expected = scale * np.tensordot(gates[layer, 0].astype(np.float64), experts.astype(np.float64), axes=1)
            np.testing.assert_allclose(factor, expected, rtol=1e-3, atol=4e-4)


def test_deltas_add_up_exactly_by_concatenation(make_bank: Callable[..., Bank]) -> None:
    """B @ A of the result is the gated sum of the experts' deltas, each with its scale of 4."""
    bank = make_bank(SHAPE, groups=3, mix="deltas", alpha=8.0)
    gates = np.array(
        [[[0.5, 0, 0.25], [0, 1, 0], [0, 0, 0]], [[0, -1, 0], [0.5, 0, 0.5], [0.25, 0.5, 0]]],
        np.float32,
    )
    lora = assemble(bank, gates)
    chosen = {(0, "gate"): 2, (0, "up"): 1, (1, "gate"): 1, (1, "up"): 2, (1, "down"): 2}
    assert lora.ranks == {block: count * RANK for block, count in chosen.items()}
    for (layer, projection), (a, b) in lora.factors.items():
        experts_a, experts_b = (experts.astype(np.float64) for experts in bank.factors(layer, projection))
        weights = gates[layer, PROJECTIONS.index(projection)].astype(np.float64)
        expected = 4.0 * np.einsum("n,nor,nri->oi", weights, experts_b, experts_a)
        np.testing.assert_allclose(b.astype(np.float64) @ a.astype(np.float64), expected, atol=1e-2)


@pytest.mark.parametrize("mix", MIXES)
def test_projection_without_gates_is_left_out(make_bank: Callable[..., Bank], mix: Mix) -> None:
    """Its weights then stay what they are; gates that vanish on some machines count as none."""
    gates = np.zeros((2, 3, EXPERTS), np.float32)
    gates[1, 2, 0], gates[0, 0, 1] = 0.5, 1e-40
    bank = make_bank(SHAPE, groups=3, mix=mix)
    assert assemble(bank, gates).ranks == {(1, "down"): RANK}


@pytest.mark.parametrize("mix", MIXES)
def test_gates_that_are_all_zero_are_refused(make_bank: Callable[..., Bank], mix: Mix) -> None:
    with pytest.raises(FormatError, match="expected one that is not zero") as caught:
        assemble(make_bank(SHAPE, mix=mix), np.zeros((2, 1, 3), np.float32))
    assert "change nothing" in caught.value.hint


def test_scale_is_multiplied_after_the_sum_and_before_the_one_rounding(make_bank: Callable[..., Bank]) -> None:
    """B holds 2**-24, the least number of float16: a sum rounded to float16 before the scale would be zero."""
    least = np.float16(2.0**-24)
    bank = make_bank(
        EdgeShape(layers=1, hidden=1, intermediate=1),
        experts=1,
        rank=1,
        alpha=0.5,
        tensors={"layers.0.up.B": np.array([[[least]]]), "layers.0.gate.B": np.array([[[1.0]]], np.float16)},
    )
    lora = assemble(bank, np.array([[[0.3]]], np.float32))
    assert lora.factors[0, "up"][1][0, 0] == 0
    assert lora.factors[0, "gate"][1][0, 0] == np.float16(np.float32(0.3) * np.float32(0.5))
    lora = assemble(bank, np.array([[[1.2]]], np.float32))
    assert lora.factors[0, "up"][1][0, 0] == least


def test_expert_with_gate_zero_is_not_read(golden: Path, tmp_path: Path) -> None:
    """0 * NaN would be NaN: an expert that was not chosen cannot spoil the sum."""
    data = bytearray((golden / "bank-1-parameters.safetensors").read_bytes())
    data[-2:] = b"\x00\x7e"  # the last number of the last expert
    (tmp_path / "bank").write_bytes(data)
    bank = Bank.open(tmp_path / "bank")
    assemble(bank, np.array([[[1, 1, 0]], [[1, 1, 0]]], np.float32))
    with pytest.raises(NonFiniteError, match="layer 1 up B"):
        assemble(bank, np.array([[[1, 1, 0]], [[1, 1, 1]]], np.float32))


@pytest.mark.parametrize("mix", MIXES)
def test_overflow_of_float16_is_refused(make_bank: Callable[..., Bank], mix: Mix) -> None:
    gates = np.full((2, 1, 3), 3e38, np.float32)
    with pytest.raises(NonFiniteError, match="layer 0 gate"):
        assemble(make_bank(SHAPE, mix=mix), gates)


@pytest.mark.parametrize(
    ("gates", "error"),
    [
        (np.ones((2, 1, 4), np.float32), MismatchError),
        (np.ones((3, 1, 3), np.float32), MismatchError),
        (np.ones((2, 3, 3), np.float32), MismatchError),
        (np.ones((2, 2, 3), np.float32), FormatError),
        (np.ones((2, 3), np.float32), FormatError),
        (np.ones((2, 1, 3), np.float64), FormatError),
        (np.ones((2, 1, 2000), np.float32), LimitError),
        (np.full((2, 1, 3), np.nan, np.float32), NonFiniteError),
        (np.full((2, 1, 3), -np.inf, np.float32), NonFiniteError),
    ],
)
def test_gates_that_do_not_fit_are_refused(
    make_bank: Callable[..., Bank], gates: np.ndarray, error: type[ContractError]
) -> None:
    with pytest.raises(error):
        assemble(make_bank(SHAPE), gates)


def test_deltas_beyond_the_rank_limit_are_refused(make_bank: Callable[..., Bank]) -> None:
    """520 chosen experts of rank 2 would be a LoRA of rank 1,040."""
    shape = EdgeShape(layers=1, hidden=1, intermediate=1)
    bank = make_bank(shape, experts=520, mix="deltas")
    with pytest.raises(LimitError, match="1040"):
        assemble(bank, np.ones((1, 1, 520), np.float32))


def test_deltas_beyond_the_size_of_a_bundle_are_refused(
    make_bank: Callable[..., Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loragen.contract.bundle.MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(LimitError, match="bundle"):
        assemble(make_bank(SHAPE, mix="deltas"), np.ones((2, 1, 3), np.float32))


@pytest.mark.parametrize("mix", MIXES)
@given(
    gates=st.lists(PLAIN, min_size=18, max_size=18),
    keys=st.lists(PLAIN, min_size=4, max_size=6),
    text=st.sampled_from(["", "Sort.", 'Sagt "größer", \\ und\nmehr.']),
)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_measured_length_is_that_of_the_bytes(
    make_bank: Callable[..., Bank], mix: Mix, gates: list[float], keys: list[float], text: str
) -> None:
    """And who measures is told of all that keeps a bundle from being built, but for numbers that overflow."""
    bank, count = make_bank(SHAPE, groups=3, mix=mix, choice=HEAD), len(keys) // 2
    answer = AnswerContract("choice", tuple(map(str, range(count))), HEAD.codes[:count])
    recipe = Recipe(
        "test",
        "c" * 64,
        bank.digest,
        "test/edge",
        bank.header.edge_model_digest,
        len(text),
        np.array(gates, np.float32).reshape(2, 3, 3),
        answer,
        np.array(keys[: 2 * count], np.float32).reshape(1, count, 2),
        text,
        len(text),
    )
    try:
        measured = measure_bundle(bank, recipe)
    except ContractError as error:
        with pytest.raises(type(error)):
            build_bundle(bank, recipe)
    else:
        assert measured == len(build_bundle(bank, recipe))


@pytest.mark.parametrize("field", ["generator_id", "bank_digest", "edge_model_id", "edge_model_digest"])
def test_recipe_of_something_else_is_refused(make_bank: Callable[..., Bank], field: str) -> None:
    bank = make_bank(SHAPE)
    fields = {
        "generator_id": bank.header.generator_id,
        "generator_digest": "c" * 64,
        "bank_digest": bank.digest,
        "edge_model_id": bank.header.edge_model_id,
        "edge_model_digest": bank.header.edge_model_digest,
    }
    gates = np.ones((2, 1, 3), np.float32)
    recipe = Recipe(**fields, prompt_tokens=5, gates=gates, residual_prompt="Sort.\n", residual_prompt_tokens=2)
    header = parse_bundle(build_bundle(bank, recipe)).header
    assert (header.generator_digest, header.prompt_tokens, header.gates_digest) == ("c" * 64, 5, gates_digest(gates))
    assert (header.residual_prompt, header.residual_prompt_tokens) == ("Sort.\n", 2)
    assert header.tokens_saved_per_call == recipe.tokens_saved_per_call == 3
    other = Recipe(**(fields | {field: "d" * 64}), prompt_tokens=5, gates=gates)
    for act in (build_bundle, measure_bundle):
        with pytest.raises(MismatchError, match=field.replace("_", " ")):
            act(bank, other)


HEAD = ChoiceHeadLayout(1, 2, (7, 5, 9))


def test_head_is_put_beside_the_mixture_in_its_layers(make_bank: Callable[..., Bank]) -> None:
    """Its part of the delta is the sum of code directions times keys; without keys it is not there."""
    bank = make_bank(SHAPE, choice=HEAD)
    gates, keys = np.ones((2, 1, EXPERTS), np.float32), np.array([[[0.5, -1.0], [2.0, 0.25]]], np.float32)
    plain, lora = assemble(bank, gates), assemble(bank, gates, keys)
    assert lora.ranks == plain.ranks | {(1, "down"): RANK + HEAD.rank}
    (a, b), (head_a, directions) = lora.factors[1, "down"], bank.choice_factors(1)
    np.testing.assert_array_equal(a[RANK:], head_a)
    np.testing.assert_allclose(b[:, RANK:], directions[:, :2].astype(np.float64) @ keys[0], rtol=1e-3, atol=1e-3)
    for block, pair in plain.factors.items():
        for side, factor in zip(lora.factors[block], pair, strict=True):
            np.testing.assert_array_equal(side[: factor.shape[0], : factor.shape[1]], factor)


def test_head_alone_is_a_lora_and_a_layer_without_keys_has_none(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(SHAPE, choice=ChoiceHeadLayout(0, 2, (7, 5, 9)))
    gates, keys = np.zeros((2, 1, EXPERTS), np.float32), np.zeros((2, 3, 2), np.float32)
    keys[1, 0, 0] = 1
    assert assemble(bank, gates, keys).ranks == {(1, "down"): 2}
    with pytest.raises(FormatError, match="not zero"):
        assemble(bank, gates, np.zeros_like(keys))


@given(values=st.lists(PLAIN, min_size=6, max_size=6))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_head_has_the_bits_of_the_plain_loops(
    make_bank: Callable[..., Bank], reference: ModuleType, values: list[float]
) -> None:
    bank = make_bank(SHAPE, choice=HEAD)
    keys = canonical_keys(np.array(values, np.float32).reshape(1, 3, 2))
    if not keys.any():
        return
    expected = reference.choice_part(bank.choice_factors(1)[1].astype(np.float64).tolist(), keys[0].tolist())
    _, b = assemble(bank, np.zeros((2, 1, EXPERTS), np.float32), keys).factors[1, "down"]
    assert b.tobytes() == np.array(expected, np.float16).tobytes()


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        (np.ones((2, 3, 2), np.float32), MismatchError),
        (np.ones((1, 4, 2), np.float32), MismatchError),
        (np.ones((1, 3, 3), np.float32), MismatchError),
        (np.ones((3, 2), np.float32), FormatError),
        (np.ones((1, 3, 2), np.float16), FormatError),
        (np.full((1, 3, 2), np.inf, np.float32), NonFiniteError),
        (np.full((1, 3, 2), 3e38, np.float32), NonFiniteError),
    ],
)
def test_keys_that_do_not_fit_are_refused(
    make_bank: Callable[..., Bank], keys: np.ndarray, error: type[ContractError]
) -> None:
    with pytest.raises(error):
        assemble(make_bank(SHAPE, choice=HEAD), np.ones((2, 1, EXPERTS), np.float32), keys)


def test_codes_must_be_the_first_of_the_bank(make_bank: Callable[..., Bank]) -> None:
    """Choice i is written as code i: any other code would make the device translate wrongly."""
    bank, gates = make_bank(SHAPE, choice=HEAD), np.ones((2, 1, EXPERTS), np.float32)

    def build(bank: Bank, codes: tuple[int, ...]) -> bytes:
        answer = AnswerContract("choice", tuple(map(str, codes)), codes)
        keys = np.ones((1, len(codes), 2), np.float32)
        recipe = Recipe(
            "test", "c" * 64, bank.digest, "test/edge", bank.header.edge_model_digest, 5, gates, answer, keys
        )
        return build_bundle(bank, recipe)

    assert parse_bundle(build(bank, (7, 5))).header.answer.codes == (7, 5)
    for codes in ((5, 7), (7, 5, 9, 4), (5,)):
        with pytest.raises(MismatchError, match="codes"):
            build(bank, codes)
    with pytest.raises(MismatchError, match="codes"):
        build(make_bank(SHAPE), (7, 5))
    with pytest.raises(MismatchError, match="no choice head"):
        assemble(make_bank(SHAPE), gates, np.ones((1, 2, 2), np.float32))


def test_layers_below_the_first_adapted_one_stay_as_they_are(make_bank: Callable[..., Bank]) -> None:
    bank = make_bank(SHAPE, first_layer=1)
    lora = assemble(bank, np.ones((1, 1, EXPERTS), np.float32))
    assert set(lora.ranks) == {(1, projection) for projection in PROJECTIONS}
    with pytest.raises(MismatchError):
        assemble(bank, np.ones((2, 1, EXPERTS), np.float32))
