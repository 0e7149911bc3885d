"""Assembly: bank + gates (+ keys) -> LoRA -> bundle bytes, the same bits on every machine.

The paper's theta_i = sum_j G_ij E_j (LoRA-Gen, section on the reconstruction of parameters): layer i mixes its experts
E_j with the gates G_ij. `loragen.contract.mixes` has the arithmetic for one projection, and the rules that give every
machine the same bits; this module applies it to the whole LoRA. The generator decides which gates to use, the edge what
to do with the LoRA.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from loragen.contract.bank import Bank, BankHeader
from loragen.contract.bundle import Bundle, BundleHeader, encode_bundle, encoded_bytes, verify_bundle_size
from loragen.contract.choice_head import choice_factors
from loragen.contract.errors import FormatError, MismatchError
from loragen.contract.fields import verify_count
from loragen.contract.limits import MAX_RANK
from loragen.contract.lora import Block, Lora
from loragen.contract.mixes import MIXES
from loragen.contract.names import PROJECTIONS
from loragen.contract.recipe import Recipe, canonical_gates, canonical_keys, gates_digest


def build_bundle(bank: Bank, recipe: Recipe) -> bytes:
    """The bundle that a recipe stands for. Cloud and edge both make bundles with this function and no other.

    Example:
        bank = Bank.open(Path("bank.safetensors"))
        bundle = build_bundle(bank, parse_recipe(recipe_bytes))
        assert content_id(bundle) == bundle_id

    Raises:
        MismatchError: The recipe belongs to another bank, generator or edge model, its gates or keys have another
            shape, or its codes are not those of the bank.
        NonFiniteError: A mixture overflows float16, or the bank holds NaN or infinity.
        LimitError: The bundle would be over its limits.
    """
    header = _bundle_header(bank, recipe)
    return encode_bundle(Bundle(header, assemble(bank, recipe.gates, recipe.keys)))


def measure_bundle(bank: Bank, recipe: Recipe) -> int:
    """How many bytes the bundle of a recipe has. It is not built for that, which saves 99 % of the time.

    Raises:
        MismatchError, LimitError: As for `build_bundle`. What is left for it to find are numbers that overflow.
        FormatError: All gates and keys are zero.
    """
    return encoded_bytes(_bundle_header(bank, recipe), _ranks(bank.header, recipe.gates, recipe.keys))


def assemble(bank: Bank, gates: NDArray[np.float32], keys: NDArray[np.float32] | None = None) -> Lora:
    """Mix the experts of a bank into one LoRA, and put its choice head beside them.

    What adds nothing is left out: a projection whose gates are all 0, and the head in a layer whose keys are all 0.

    Args:
        bank: The experts and the head.
        gates: (adapted layers, groups, experts) float32.
        keys: (choice layers, choices, rank) float32; None leaves the head out.

    Raises:
        MismatchError: The shape of the gates or keys is not that of the bank.
        FormatError: All gates and keys are zero.
        NonFiniteError: The gates, the keys, the bank or the result hold NaN or infinity.
        LimitError: The LoRA would be over the limits of a bundle.
    """
    header, mix = bank.header, MIXES[bank.header.mix]
    # Ranks and size are checked before memory is taken for the factors.
    _ranks(header, gates, keys)
    chosen, written = _chosen_experts(header, gates), _written_keys(header, keys)
    # From views of the bank's file, A (experts, expert rank, in) and B (experts, out, expert rank) float16, to
    # A (rank, in) and B (out, rank). Overflow gives infinity or NaN, which `verify_finite` refuses.
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        factors = {block: mix.factors(bank.factors(*block), pairs, header.scale) for block, pairs in chosen.items()}
        for block, layer_keys in written.items():
            parts = [factors[block]] if block in factors else []
            parts.append(choice_factors(bank.choice_factors(block[0]), layer_keys))
            # Side by side along the rank: first what the gates mixed, then the head.
            factors[block] = np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts], axis=1)
    lora = Lora(header.shape, factors)
    lora.verify_finite()
    return lora


def _ranks(header: BankHeader, gates: NDArray[np.float32], keys: NDArray[np.float32] | None) -> Mapping[Block, int]:
    """The rank of each projection that the LoRA acts on, within the limits of a bundle."""
    mix, ranks = MIXES[header.mix], Counter[Block]()
    # (adapted layers, groups): how many experts are chosen.
    counts = np.count_nonzero(_fitting_gates(header, gates), axis=2)
    for block in header.blocks():
        if count := int(counts[_row(header, block)]):
            ranks[block] = mix.blocks(count) * header.rank
    ranks.update({block: layer_keys.shape[1] for block, layer_keys in _written_keys(header, keys).items()})
    if not ranks:
        raise FormatError("gates: expected one that is not zero, found none", hint="such a LoRA would change nothing")
    for rank in ranks.values():
        verify_count(rank, "rank of the LoRA", 1, MAX_RANK)
    verify_bundle_size(header.shape.lora_numbers(ranks.values()))
    return ranks


def _fitting_gates(header: BankHeader, gates: NDArray[np.float32]) -> NDArray[np.float32]:
    """The canonical gates, of the bank's shape."""
    gates = canonical_gates(gates)
    if gates.shape != header.gates_shape:
        raise MismatchError(
            f"gates: expected (layers, groups, experts) = {header.gates_shape} of the bank, found {gates.shape}"
        )
    return gates


def _row(header: BankHeader, block: Block) -> tuple[int, int]:
    """Where the gates (experts,) of a projection are: its own with 3 groups, shared by the layer's with 1."""
    layer, projection = block
    return layer - header.first_layer, PROJECTIONS.index(projection) if header.groups == len(PROJECTIONS) else 0


def _chosen_experts(header: BankHeader, gates: NDArray[np.float32]) -> dict[Block, list[tuple[int, np.float32]]]:
    """(expert, gate) of the gates that are not zero, for each projection that has some."""
    gates = _fitting_gates(header, gates)
    chosen = {}
    for block in header.blocks():
        pairs = [(expert, gate) for expert, gate in enumerate(gates[_row(header, block)]) if gate != 0]
        if pairs:
            chosen[block] = pairs
    return chosen


def _written_keys(header: BankHeader, keys: NDArray[np.float32] | None) -> dict[Block, NDArray[np.float32]]:
    """The keys (choices, rank) of each down projection in which not all of them are zero."""
    if keys is None:
        return {}
    keys, head = canonical_keys(keys), header.choice
    if head is None:
        raise MismatchError("keys: the bank has no choice head")
    layers, choices, rank = keys.shape
    if (layers, rank) != (len(header.choice_layers), head.rank) or choices > len(head.codes):
        expected = f"({len(header.choice_layers)}, at most {len(head.codes)}, {head.rank})"
        raise MismatchError(f"keys: expected (layers, choices, rank) = {expected} of the bank, found {keys.shape}")
    return {
        (layer, "down"): layer_keys
        for layer, layer_keys in zip(header.choice_layers, keys, strict=True)
        if layer_keys.any()
    }


def _bundle_header(bank: Bank, recipe: Recipe) -> BundleHeader:
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
    codes = () if header.choice is None else header.choice.codes[: len(recipe.answer.codes)]
    if recipe.answer.codes != codes:
        raise MismatchError(
            f"recipe: expected the first {len(recipe.answer.codes)} codes of the bank, found others",
            hint="the generator and its bank do not belong together",
        )
    return BundleHeader(
        generator_id=recipe.generator_id,
        generator_digest=recipe.generator_digest,
        edge_model_id=recipe.edge_model_id,
        edge_model_digest=recipe.edge_model_digest,
        layers=header.shape.layers,
        edge_model_hidden=header.shape.hidden,
        edge_model_intermediate=header.shape.intermediate,
        gates_digest=gates_digest(recipe.gates, recipe.keys),
        prompt_tokens=recipe.prompt_tokens,
        answer=recipe.answer,
        residual_prompt=recipe.residual_prompt,
        residual_prompt_tokens=recipe.residual_prompt_tokens,
    )
