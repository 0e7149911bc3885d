"""Assembly: bank + gates -> LoRA -> bundle bytes, the same bits on every machine.

The paper's theta_i = sum_j G_ij E_j (LoRA-Gen, section on the reconstruction of parameters): layer i mixes its experts
E_j with the gates G_ij. `loragen.contract.mixes` has the arithmetic for one projection, and the rules that give every
machine the same bits; this module applies it to the whole LoRA. The generator decides which gates to use, the edge what
to do with the LoRA.
"""

import numpy as np
from numpy.typing import NDArray

from loragen.contract.bank import Bank
from loragen.contract.bundle import TARGETS, Bundle, BundleHeader, encode_bundle, verify_bundle_size
from loragen.contract.errors import MismatchError
from loragen.contract.lora import Lora
from loragen.contract.mixes import MIXES
from loragen.contract.names import PROJECTIONS
from loragen.contract.recipe import Recipe, canonical_gates, gates_digest


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

    # The whole LoRA has one rank: that of the (layer, group) which chose the most experts. Its size is checked before
    # memory is taken for it.
    mix = MIXES[header.mix]
    blocks = mix.blocks(int(np.count_nonzero(gates, axis=2).max()))
    rank = blocks * header.rank
    verify_bundle_size(header.shape, rank)
    factors = {}
    for layer, projection in header.shape.blocks():
        # The gates of this projection, (experts,): its own with 3 groups, shared by the layer's projections with 1.
        group = PROJECTIONS.index(projection) if header.groups == len(PROJECTIONS) else 0
        chosen = [(expert, gate) for expert, gate in enumerate(gates[layer, group]) if gate != 0]
        # From views of the bank's file, A (experts, expert rank, in) and B (experts, out, expert rank) float16, to
        # A (rank, in) and B (out, rank). Overflow gives infinity or NaN, which `verify_finite` refuses below.
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            factors[layer, projection] = mix.factors(bank.factors(layer, projection), chosen, rank)
    # Rounded to the six decimals that an alpha may have: 3 * 0.1 is not 0.3 in binary.
    lora = Lora(header.shape, rank, round(blocks * header.alpha, 6), factors)
    lora.verify_finite()
    return lora
