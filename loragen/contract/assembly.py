"""Assembly: bank + gates -> LoRA -> bundle bytes, the same bits on every machine.

The paper's theta_i = sum_j G_ij E_j (LoRA-Gen, section on the reconstruction of parameters): layer i mixes its experts
E_j with the gates G_ij. `loragen.contract.mixes` has the arithmetic for one projection, and the rules that give every
machine the same bits; this module applies it to the whole LoRA. The generator decides which gates to use, the edge what
to do with the LoRA.
"""

import numpy as np
from numpy.typing import NDArray

from loragen.contract.bank import Bank
from loragen.contract.bundle import Bundle, BundleHeader, encode_bundle, verify_bundle_size
from loragen.contract.errors import FormatError, MismatchError
from loragen.contract.fields import verify_count
from loragen.contract.limits import MAX_RANK
from loragen.contract.lora import Block, Lora
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
        edge_model_hidden=lora.shape.hidden,
        edge_model_intermediate=lora.shape.intermediate,
        gates_digest=gates_digest(recipe.gates),
        prompt_tokens=recipe.prompt_tokens,
        answer=recipe.answer,
    )
    return encode_bundle(Bundle(bundle_header, lora))


def assemble(bank: Bank, gates: NDArray[np.float32]) -> Lora:
    """Mix the experts of a bank into one LoRA. A projection whose gates are all zero is left out of it.

    Args:
        bank: The experts.
        gates: (layers, groups, experts) float32.

    Raises:
        MismatchError: The gates have another shape than the bank.
        FormatError: All gates are zero.
        NonFiniteError: The gates, the bank or the result hold NaN or infinity.
        LimitError: The LoRA would be over the limits of a bundle.
    """
    header = bank.header
    gates = canonical_gates(gates)
    expected = (header.shape.layers, header.groups, header.experts)
    if gates.shape != expected:
        raise MismatchError(f"gates: expected (layers, groups, experts) = {expected} of the bank, found {gates.shape}")

    # The chosen experts of each projection that has some: its own gates with 3 groups, with 1 the layer's only ones.
    chosen: dict[Block, list[tuple[int, np.float32]]] = {}
    for layer, projection in header.shape.blocks():
        group = PROJECTIONS.index(projection) if header.groups == len(PROJECTIONS) else 0
        pairs = [(expert, gate) for expert, gate in enumerate(gates[layer, group]) if gate != 0]
        if pairs:
            chosen[layer, projection] = pairs
    if not chosen:
        raise FormatError("gates: expected one that is not zero, found none", hint="such a LoRA would change nothing")

    # Ranks and size are checked before memory is taken for the factors.
    mix = MIXES[header.mix]
    ranks = {block: mix.blocks(len(pairs)) * header.rank for block, pairs in chosen.items()}
    for rank in ranks.values():
        verify_count(rank, "rank of the LoRA", 1, MAX_RANK)
    verify_bundle_size(header.shape, ranks.values())
    # From views of the bank's file, A (experts, expert rank, in) and B (experts, out, expert rank) float16, to
    # A (rank, in) and B (out, rank). Overflow gives infinity or NaN, which `verify_finite` refuses.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        factors = {block: mix.factors(bank.factors(*block), pairs, header.scale) for block, pairs in chosen.items()}
    lora = Lora(header.shape, factors)
    lora.verify_finite()
    return lora
