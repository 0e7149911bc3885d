"""A user's own LoRA, as PEFT saves it: from `adapter_config.json` and `adapter_model.safetensors` to a bundle.

Rules:
- What a bundle cannot hold is refused by name, with a way out: DoRA, trained biases, embeddings, whole modules, and
  whatever a newer PEFT may mean by a field that is not known here.
- The scale of each module (alpha / rank, or alpha / sqrt(rank) for rsLoRA, with PEFT's patterns) goes into B.
- The factors become float16. Before that, A and B are brought to one magnitude by a power of two, which changes no bit
  of their product: trained factors differ so much that B alone would lose digits.
- A module whose factors are zero is left out: it would change nothing.

Both files are untrusted: the configuration's patterns are compared as names, never run as regular expressions.
It leaves to others which edge model it is for, and where the bundle goes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from loragen.contract.answer import TEXT_ANSWER, AnswerContract, answer_fields, contract_of
from loragen.contract.bundle import Bundle, BundleHeader
from loragen.contract.errors import ContractError, FormatError, LimitError, NonFiniteError, UnsupportedError
from loragen.contract.fields import verify_count
from loragen.contract.limits import (
    MAX_ADAPTER_BYTES,
    MAX_ADAPTER_CONFIG_BYTES,
    MAX_CONTRACT_BYTES,
    MAX_RANK,
    MAX_TENSORS,
)
from loragen.contract.lora import Block, EdgeShape, FactorPair, Linears, Lora, verify_fits
from loragen.contract.mixes import round_half
from loragen.contract.names import module_name
from loragen.contract.peft import ANSWER_FILE, CONFIG_FILE, WEIGHTS_FILE
from loragen.contract.peft_config import PeftConfig, parse_peft_config
from loragen.contract.strict_json import load_strict_json

_TENSOR = re.compile(
    r"base_model\.model\.model\.layers\.(0|[1-9][0-9]{0,3})\."
    r"(?:self_attn\.([qkvo])|mlp\.(gate|up|down))_proj\.lora_([AB])(?:\.default)?\.weight"
)

_UNHELD = {
    "lora_magnitude_vector": ("DoRA", "merge it with PEFT's merge_and_unload, or train without use_dora"),
    "lora_embedding": ("an embedding", "train without embed_tokens and lm_head in target_modules"),
    "embed_tokens": ("an embedding", "train without embed_tokens and lm_head in target_modules"),
    "lm_head": ("the output matrix", "train without embed_tokens and lm_head in target_modules"),
    "modules_to_save": ("a whole module", "train without modules_to_save"),
    "base_layer": ("a weight of the base model", "save the adapter alone, with model.save_pretrained"),
    ".bias": ("a trained bias", 'train with bias="none" and without lora_bias'),
}
"""Parts of tensor names: what such a tensor holds, and the way out."""

_TYPES: Mapping[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """An adapter as it lies on disk, not looked at yet.

    Attributes:
        config: `adapter_config.json`.
        weights: `adapter_model.safetensors`.
        answer: What its answers may look like.
    """

    config: bytes
    weights: bytes
    answer: AnswerContract = TEXT_ANSWER


def read_adapter(path: Path) -> PeftAdapter:
    """Read a PEFT folder, or its weights file with the configuration beside it.

    An `answer.json` beside them is the answer contract.

    Raises:
        FormatError: A file is missing.
        LimitError: A file is too large.
        ContractError: `answer.json` is no answer contract.
        OSError: A file cannot be read.
    """
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    config, answer = weights.with_name(CONFIG_FILE), weights.with_name(ANSWER_FILE)
    for file in (config, weights):
        if not file.is_file():
            hint = "name a folder as PEFT's save_pretrained writes it, with weights as safetensors"
            raise FormatError(f"adapter: expected {CONFIG_FILE} and {WEIGHTS_FILE}, found no {file.name}", hint=hint)
    contract = read_answer_file(answer) if answer.is_file() else TEXT_ANSWER
    return PeftAdapter(_read(config, MAX_ADAPTER_CONFIG_BYTES), _read(weights, MAX_ADAPTER_BYTES), contract)


def read_answer_file(path: Path) -> AnswerContract:
    """Read an answer contract from a file: JSON in any layout.

    Raises:
        ContractError: It is no answer contract.
        OSError: It cannot be read.
    """
    return answer_of(_read(path, MAX_CONTRACT_BYTES))


def answer_of(text: bytes) -> AnswerContract:
    """The answer contract of a JSON text in any layout.

    Raises:
        ContractError: It is no answer contract.
    """
    hint = 'for example {"type": "choice", "choices": ["yes", "no"]}'
    if len(text) > MAX_CONTRACT_BYTES:
        raise LimitError(f"answer: expected at most {MAX_CONTRACT_BYTES} bytes, found {len(text)}")
    try:
        fields = load_strict_json(text)
    except ContractError as e:
        raise FormatError(f"answer: {e}", hint=hint) from e
    if not isinstance(fields, dict):
        raise FormatError("answer: expected a JSON object", hint=hint)
    # As the interface writes a contract: its schema under another name, and with what is empty.
    fields = {
        "schema" if name == "json_schema" else name: value
        for name, value in fields.items()
        if value is not None and value != [] and value is not False
    }
    contract = contract_of(fields)
    if unknown := fields.keys() - answer_fields(contract).keys():
        raise FormatError(f"answer: the field {ascii(min(unknown))[:80]} says nothing here", hint=hint)
    return contract


def verify_plain(adapter: PeftAdapter) -> None:
    """Check by configuration and names that an adapter is a plain LoRA, before it is sent anywhere.

    Whole modules and embeddings make the file so large that nobody takes it, who could say why.

    Raises:
        UnsupportedError: The adapter has what a bundle cannot hold.
        FormatError, LimitError: It is no adapter, or too large.
    """
    parse_peft_config(adapter.config)
    for name, _ in _tensors(adapter.weights):
        _parse_name(name)


def imported_bundle(
    adapter: PeftAdapter, shape: EdgeShape, linears: Linears, edge_model_id: str, edge_model_digest: str
) -> Bundle:
    """The bundle of a user's adapter; equal adapters give equal bundles.

    Example:
        bundle = imported_bundle(read_adapter(Path("my-adapter")), base.shape, base.linears, base.model_id, base.digest)

    Args:
        adapter: What the user has.
        shape: Of the edge model.
        linears: Widths of the edge model's linear layers, with which every factor is compared.
        edge_model_id: Of the edge model. What the configuration says of it is only a hint, and is not read.
        edge_model_digest: Its digest.

    Raises:
        UnsupportedError: The adapter has what a bundle cannot hold.
        MismatchError: It is for an edge model of another shape.
        NonFiniteError: It holds NaN or infinity, or numbers beyond float16.
        FormatError, LimitError: It is no adapter, or too large.
    """
    config = parse_peft_config(adapter.config)
    pairs = _parse_pairs(adapter.weights)
    verify_fits(pairs, linears)
    factors = {block: _scaled(block, *pair, config) for block, pair in sorted(pairs.items())}
    factors = {block: pair for block, pair in factors.items() if pair[0].any() and pair[1].any()}
    if not factors:
        raise FormatError("adapter: every A or B is zero", hint="it was saved before it was trained")
    header = BundleHeader(
        generator_id=None,
        generator_digest=None,
        edge_model_id=edge_model_id,
        edge_model_digest=edge_model_digest,
        layers=shape.layers,
        edge_model_hidden=shape.hidden,
        edge_model_intermediate=shape.intermediate,
        gates_digest=None,
        prompt_tokens=0,
        answer=adapter.answer,
    )
    lora = Lora(shape, factors)
    lora.verify_finite()
    return Bundle(header, lora)


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise LimitError(f"{path.name}: expected at most {most} bytes, found more")
    return data


def _tensors(weights: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Name and content of each tensor of a safetensors file."""
    if len(weights) > MAX_ADAPTER_BYTES:
        raise LimitError(f"adapter: expected at most {MAX_ADAPTER_BYTES} bytes, found {len(weights)}")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(weights)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError) as e:
        raise FormatError(
            f"{WEIGHTS_FILE}: expected a safetensors file: {e}", hint="save with safe_serialization=True, not as .bin"
        ) from e
    if len(tensors) > MAX_TENSORS:
        raise LimitError(f"{WEIGHTS_FILE}: expected at most {MAX_TENSORS} tensors, found {len(tensors)}")
    return tensors


def _parse_pairs(weights: bytes) -> dict[Block, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """A and B by layer and projection, float32, from the bytes of a safetensors file."""
    sides: dict[Block, dict[str, NDArray[np.float32]]] = {}
    for name, entry in _tensors(weights):
        block, side = _parse_name(name)
        if side in sides.setdefault(block, {}):
            message = f"{WEIGHTS_FILE}: {_shown(name)} is there twice, under two names"
            raise FormatError(message, hint="save one adapter alone, with model.save_pretrained")
        sides[block][side] = _float32(name, entry)
    for block, found in sides.items():
        if len(found) < 2:
            (only,) = found
            raise FormatError(
                f"{WEIGHTS_FILE}: {module_name(*block)} has lora_{only} alone, expected lora_A and lora_B",
                hint="the file is incomplete: save the adapter again",
            )
    if not sides:
        raise FormatError(f"{WEIGHTS_FILE}: expected LoRA tensors, found none", hint="save the adapter again")
    return {block: (found["A"], found["B"]) for block, found in sides.items()}


def _parse_name(name: str) -> tuple[Block, str]:
    match = _TENSOR.fullmatch(name)
    if match is not None:
        layer, attention, feed_forward, side = match.groups()
        return (int(layer), attention or feed_forward), side
    for part, (what, way_out) in _UNHELD.items():
        if part in name:
            raise UnsupportedError(
                f"{WEIGHTS_FILE}: {_shown(name)} is {what}, which a bundle cannot hold", hint=way_out
            )
    raise UnsupportedError(
        f"{WEIGHTS_FILE}: expected LoRA factors of attention and feed-forward layers, found {_shown(name)}",
        hint="target q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj or down_proj of a Llama, Qwen or Gemma model",
    )


def _float32(name: str, entry: Mapping[str, Any]) -> NDArray[np.float32]:
    dtype = _TYPES.get(entry["dtype"])
    if dtype is None:
        raise UnsupportedError(
            f"{WEIGHTS_FILE}: {_shown(name)} is of type {entry['dtype']}, expected F32, BF16 or F16",
            hint="save the adapter itself in float32, bfloat16 or float16; the base model may be quantized",
        )
    numbers = np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32; numpy has no such type
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    values = numbers.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise NonFiniteError(f"{WEIGHTS_FILE}: {_shown(name)}: expected finite numbers, found NaN or infinity")
    return values


def _scaled(block: Block, a: NDArray[np.float32], b: NDArray[np.float32], config: PeftConfig) -> FactorPair:
    """Factors in float16 with the scale in B, from factors of PEFT: A (rank, in) and B (out, rank)."""
    module = module_name(*block)
    rank = verify_count(len(a), f"{module}: rank", 1, MAX_RANK)
    if rank != b.shape[1] or rank != config.rank(module):
        raise FormatError(
            f"{module}: expected rank {config.rank(module)} of {CONFIG_FILE}, "
            f"found A of rank {rank} and B of rank {b.shape[1]}",
            hint="configuration and weights are of two adapters: take both from one folder",
        )
    with np.errstate(over="ignore", under="ignore"):
        b = b * np.float32(config.scale(module))
        if not np.isfinite(b).all():
            raise NonFiniteError(f"{module}: B times its scale is beyond float32")
        # 2**-power A and 2**power B have the same product, and about the same largest number.
        power = (_exponent(a) - _exponent(b)) // 2
        pair = round_half(np.ldexp(a, -power)), round_half(np.ldexp(b, power))
    if not all(np.isfinite(factor).all() for factor in pair):
        raise NonFiniteError(f"{module}: the LoRA has numbers that are too large for float16")
    return pair


def _exponent(values: NDArray[np.float32]) -> int:
    """The exponent of the largest number; 0 when all are zero."""
    return math.frexp(float(np.abs(values).max()))[1]


def _shown(name: str) -> str:
    return ascii(name[:120])
