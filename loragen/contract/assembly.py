"""Assembly: bank + gates -> LoRA -> bundle bytes, the same bits on every machine.

The paper's theta_i = sum_j G_ij E_j (LoRA-Gen, section on the reconstruction of parameters): layer i mixes its experts
E_j with the gates G_ij. The paper leaves open what is summed, so a bank says which of two mixes it was trained for:

- `parameters`: A = sum_j g_j A_j and B = sum_j g_j B_j. The rank stays.
- `deltas`: B A = sum_j g_j B_j A_j. This is exact when the chosen experts' factors are put side by side; the rank is
  multiplied by their number.

Rules that make it reproducible: experts are taken in ascending order, and a gate of exactly zero is skipped; each
product and each sum is rounded to float32 on its own (numpy, no fused operations); sums start at +0.0; the end result
is rounded once to float16, to nearest even; a negative zero is stored as +0.0. See docs/bundle-format.md.
The generator decides which gates to use, the edge what to do with the LoRA.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from loragen.contract.bank import Bank, BankHeader
from loragen.contract.bundle import TARGETS, Bundle, BundleHeader, encode_bundle, verify_bundle_size
from loragen.contract.errors import MismatchError
from loragen.contract.lora import FactorPair, Lora
from loragen.contract.names import PROJECTIONS
from loragen.contract.recipe import Recipe, canonical_gates, gates_digest

Chosen = Sequence[tuple[int, np.float32]]
"""(expert, gate) for each gate that is not zero, experts ascending."""


def build_bundle(bank: Bank, recipe: Recipe) -> bytes:
    """The bundle that a recipe stands for. Cloud and edge both make bundles with this function and no other.

    Example:
        bank = Bank.open(Path("bank.safetensors"))
        bundle = build_bundle(bank, parse_recipe(recipe_bytes))
        assert content_id(bundle) == bundle_id

    Raises:
        MismatchError: The recipe belongs to another bank, generator or edge model, or its gates have another shape.
        NonFiniteError: A mixture overflows float16, or the bank holds NaN or infinity.
        LimitError: The bundle would be over its limits.
    """
    header = bank.header
    for name, expected, found in (
        ("generator id", header.generator_id, recipe.generator_id),
        ("bank digest", bank.digest, recipe.bank_digest),
        ("edge model id", header.edge_model_id, recipe.edge_model_id),
        ("edge model digest", header.edge_model_digest, recipe.edge_model_digest),
    ):
        if expected != found:
            raise MismatchError(
                f"recipe: expected {name} {expected} of the bank, found {found}",
                hint="fetch the bank that the recipe names, or the whole bundle",
            )
    lora = assemble(bank, recipe.gates)
    bundle_header = BundleHeader(
        generator_id=recipe.generator_id,
        generator_digest=recipe.generator_digest,
        edge_model_id=recipe.edge_model_id,
        edge_model_digest=recipe.edge_model_digest,
        layers=lora.shape.layers,
        rank=lora.rank,
        alpha=lora.alpha,
        targets=TARGETS,
        gates_digest=gates_digest(recipe.gates),
        prompt_tokens=recipe.prompt_tokens,
    )
    return encode_bundle(Bundle(bundle_header, lora))


def assemble(bank: Bank, gates: NDArray[np.float32]) -> Lora:
    """Mix the experts of a bank into one LoRA.

    Args:
        bank: The experts.
        gates: (layers, groups, experts) float32.

    Raises:
        MismatchError: The gates have another shape than the bank.
        NonFiniteError: The gates, the bank or the result hold NaN or infinity.
        LimitError: The LoRA would be over the limits of a bundle.
    """
    header = bank.header
    gates = canonical_gates(gates)
    expected = (header.shape.layers, header.groups, header.experts)
    if gates.shape != expected:
        raise MismatchError(f"gates: expected (layers, groups, experts) = {expected} of the bank, found {gates.shape}")

    # The whole LoRA has one rank, and its size is checked before memory is taken for it.
    blocks = _block_count(header, gates)
    rank = blocks * header.rank
    verify_bundle_size(header.shape, rank)
    factors = {}
    for layer, projection in header.shape.blocks():
        # The gates of this projection, (experts,): its own with 3 groups, shared by the layer's projections with 1.
        group = PROJECTIONS.index(projection) if header.groups == len(PROJECTIONS) else 0
        chosen = [(expert, gate) for expert, gate in enumerate(gates[layer, group]) if gate != 0]
        # Views of the bank's file: A (experts, expert rank, in) and B (experts, out, expert rank), float16.
        experts_a, experts_b = bank.factors(layer, projection)
        # Mixed to A (rank, in) and B (out, rank). Overflow gives infinity or NaN, which `verify_finite` refuses below.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            if header.mix == "parameters":
                factors[layer, projection] = _weighted_sum(experts_a, chosen), _weighted_sum(experts_b, chosen)
            else:
                factors[layer, projection] = _mix_deltas((experts_a, experts_b), chosen, rank)
    # Rounded to the six decimals that an alpha may have: 3 * 0.1 is not 0.3 in binary.
    lora = Lora(header.shape, rank, round(blocks * header.alpha, 6), factors)
    lora.verify_finite()
    return lora


def _block_count(header: BankHeader, gates: NDArray[np.float32]) -> int:
    """The LoRA's rank in ranks of one expert: for `deltas`, the most experts that any (layer, group) chose."""
    if header.mix == "parameters":
        return 1
    return max(1, int(np.count_nonzero(gates, axis=2).max()))


def _weighted_sum(experts: NDArray[np.float16], chosen: Chosen) -> NDArray[np.float16]:
    """sum_j g_j E_j, from experts (experts, rows, columns) float16 to (rows, columns) float16."""
    total = np.zeros(experts.shape[1:], np.float32)
    product = np.empty_like(total)
    for expert, gate in chosen:
        # Widening float16 is exact. Two calls instead of one fused operation: each of them rounds to float32.
        np.multiply(experts[expert].astype(np.float32), gate, out=product)
        np.add(total, product, out=total)
    return _round(total)


def _mix_deltas(experts: FactorPair, chosen: Chosen, rank: int) -> FactorPair:
    """The chosen experts side by side: A = [A_j ...] (rank, in) and B = [g_j B_j ...] (out, rank).

    B A is then the sum of g_j B_j A_j. A projection that chose fewer experts than another has blocks of zeros at the
    end, which add nothing.
    """
    experts_a, experts_b = experts
    _, expert_rank, width_in = experts_a.shape
    factor_a = np.zeros((rank, width_in), np.float16)
    factor_b = np.zeros((experts_b.shape[1], rank), np.float16)
    for block, (expert, gate) in enumerate(chosen):
        # Rows of A and columns of B that belong to this expert. A is copied as it is, only B is scaled by the gate.
        columns = slice(block * expert_rank, (block + 1) * expert_rank)
        factor_a[columns] = _without_negative_zero(experts_a[expert].copy())
        factor_b[:, columns] = _round(experts_b[expert].astype(np.float32) * gate)
    return factor_a, factor_b


def _round(values: NDArray[np.float32]) -> NDArray[np.float16]:
    return _without_negative_zero(values.astype(np.float16))


def _without_negative_zero(values: NDArray[np.float16]) -> NDArray[np.float16]:
    """Turn -0.0 into +0.0 in place: its sign may depend on how a processor rounds subnormal numbers."""
    bits = values.view(np.uint16)
    bits[bits == 0x8000] = 0
    return values
