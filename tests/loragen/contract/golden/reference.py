"""The formats and the assembly once more, in plain Python: struct, json and loops, nothing of `contract`, no numpy.

It is the specification (docs/bundle-format.md) read by someone else. It made the golden files beside it:
`python tests/loragen/contract/golden/reference.py`. They are not made again for a change of the code, only for a new
version of a format, under a new name.
"""

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from pathlib import Path

PROJECTIONS = ("gate", "up", "down")
LAYERS, HIDDEN, INTERMEDIATE, EXPERTS, RANK = 2, 4, 6, 3, 2
GENERATOR_DIGEST, EDGE_DIGEST = "a" * 64, "b" * 64
PROMPT_TOKENS = 257
ALPHA = 0.7
# One gate of each kind: zero, positive, negative, one that float16 does not hold, one that vanishes in float16.
GATES = {
    "parameters": [[[0.75, 0.0, 0.25]], [[0.1, -1.5, 1e-12]]],
    "deltas": [
        [[0.75, 0.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]],
        [[0.0, -0.3, 0.0], [0.5, 0.0, 0.5], [0.1, 0.2, 0.7]],
    ],
}
GROUPS = {"parameters": 1, "deltas": 3}
ANSWERS = {"parameters": '{"type":"text"}', "deltas": '{"choices":["yes","n\\u00f6"],"type":"choice"}'}

Tensor = tuple[str, tuple[int, ...], list[float]]
"""dtype, shape, values row by row."""


def half(value: float) -> float:
    """Round to float16, to nearest even."""
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def single(value: float) -> float:
    """Round to float32, to nearest even. float64 holds every product and sum of two float32 well enough for that."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def file_bytes(kind: str, metadata: dict[str, str], tensors: dict[str, Tensor]) -> bytes:
    """A safetensors file in canonical form."""
    header: dict[str, object] = {"__metadata__": {**metadata, "loragen.format": kind, "loragen.version": "1"}}
    data = b""
    for name in sorted(tensors, key=str.encode):
        dtype, shape, values = tensors[name]
        encoded = struct.pack(f"<{prod(shape)}{'e' if dtype == 'F16' else 'f'}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(encoded)]}
        data += encoded
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def widths(projection: str) -> tuple[int, int]:
    """Input and output width of a projection."""
    return (INTERMEDIATE, HIDDEN) if projection == "down" else (HIDDEN, INTERMEDIATE)


def expert_values(layer: int, projection: str, side: str) -> list[float]:
    """Numbers of one bank tensor: scattered over [-0.5, 0.5], exact in float16."""
    count = EXPERTS * RANK * widths(projection)[side == "B"]
    start = 1 + 1000 * layer + 100 * PROJECTIONS.index(projection) + 10 * (side == "B")
    return [((start + index) * 7919 % 1025 - 512) / 1024 for index in range(count)]


def bank_tensors() -> dict[str, Tensor]:
    """Every tensor of the golden banks."""
    tensors: dict[str, Tensor] = {}
    for layer, projection in product(range(LAYERS), PROJECTIONS):
        width_in, width_out = widths(projection)
        for side, shape in (("A", (EXPERTS, RANK, width_in)), ("B", (EXPERTS, width_out, RANK))):
            tensors[f"layers.{layer}.{projection}.{side}"] = ("F16", shape, expert_values(layer, projection, side))
    return tensors


def bank_bytes(mix: str) -> bytes:
    """A golden bank."""
    metadata = {
        "loragen.alpha": str(ALPHA),
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.hidden": str(HIDDEN),
        "loragen.edge_model.id": "golden/edge",
        "loragen.edge_model.intermediate": str(INTERMEDIATE),
        "loragen.experts": str(EXPERTS),
        "loragen.generator.id": "golden",
        "loragen.groups": str(GROUPS[mix]),
        "loragen.layers": str(LAYERS),
        "loragen.mix": mix,
        "loragen.rank": str(RANK),
    }
    return file_bytes("bank", metadata, bank_tensors())


def recipe_bytes(mix: str) -> bytes:
    """A golden recipe."""
    metadata = {
        "loragen.answer": ANSWERS[mix],
        "loragen.bank.digest": hashlib.sha256(bank_bytes(mix)).hexdigest(),
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.id": "golden/edge",
        "loragen.generator.digest": GENERATOR_DIGEST,
        "loragen.generator.id": "golden",
        "loragen.prompt_tokens": str(PROMPT_TOKENS),
    }
    values = [single(gate) for layer in GATES[mix] for group in layer for gate in group]
    return file_bytes("recipe", metadata, {"gates": ("F32", (LAYERS, GROUPS[mix], EXPERTS), values)})


def scale(alpha: float, rank: int) -> float:
    """Scale of one expert."""
    return single(alpha / rank)


def mix_parameters(
    gates: Sequence[float], experts: Sequence[Sequence[float]], factor: float | None = None
) -> list[float]:
    """sum_j g_j E_j over equally long rows of numbers, times `factor` for B, rounded as the specification says."""
    mixed = []
    for numbers in zip(*experts, strict=True):
        total = 0.0
        for gate, number in zip(gates, numbers, strict=True):
            if gate != 0:
                total = single(total + single(gate * number))
        mixed.append(stored(total if factor is None else single(total * factor)))
    return mixed


def mix_deltas(
    gates: Sequence[float],
    experts_a: Sequence[Sequence[Sequence[float]]],
    experts_b: Sequence[Sequence[Sequence[float]]],
    factor: float,
) -> tuple[list[list[float]], list[list[float]]]:
    """Concatenated factors of the m chosen experts, A of (m * r, in) and B of (out, m * r)."""
    rows_a: list[list[float]] = []
    rows_b: list[list[float]] = [[] for _ in experts_b[0]]
    for gate, expert_a, expert_b in zip(gates, experts_a, experts_b, strict=True):
        if gate == 0:
            continue
        rows_a += [[stored(number) for number in row] for row in expert_a]
        for row, expert_row in zip(rows_b, expert_b, strict=True):
            row += [stored(single(single(gate * number) * factor)) for number in expert_row]
    return rows_a, rows_b


def stored(value: float) -> float:
    """float16, with +0.0 for either zero."""
    return half(value) + 0.0


def nested(values: Sequence[float], shape: tuple[int, int, int]) -> list[list[list[float]]]:
    """Flat numbers as experts of rows."""
    experts, rows, columns = shape
    return [
        [list(values[(expert * rows + row) * columns :][:columns]) for row in range(rows)] for expert in range(experts)
    ]


def flat(rows: Iterable[Sequence[float]]) -> list[float]:
    """Rows as one list."""
    return [number for row in rows for number in row]


def bundle_bytes(mix: str) -> bytes:
    """The bundle that the golden bank and recipe stand for."""
    gates = [[[single(gate) for gate in group] for group in layer] for layer in GATES[mix]]
    tensors: dict[str, Tensor] = {}
    for layer, projection in product(range(LAYERS), PROJECTIONS):
        width_in, width_out = widths(projection)
        chosen = gates[layer][PROJECTIONS.index(projection) if GROUPS[mix] == 3 else 0]
        if not any(chosen):
            continue
        rank = RANK * sum(gate != 0 for gate in chosen) if mix == "deltas" else RANK
        a = nested(expert_values(layer, projection, "A"), (EXPERTS, RANK, width_in))
        b = nested(expert_values(layer, projection, "B"), (EXPERTS, width_out, RANK))
        if mix == "parameters":
            values_a = mix_parameters(chosen, [flat(expert) for expert in a])
            values_b = mix_parameters(chosen, [flat(expert) for expert in b], scale(ALPHA, RANK))
        else:
            rows_a, rows_b = mix_deltas(chosen, a, b, scale(ALPHA, RANK))
            values_a, values_b = flat(rows_a), flat(rows_b)
        prefix = f"base_model.model.model.layers.{layer}.mlp.{projection}_proj"
        tensors[f"{prefix}.lora_A.weight"] = ("F16", (rank, width_in), values_a)
        tensors[f"{prefix}.lora_B.weight"] = ("F16", (width_out, rank), values_b)
    gate_values = flat(flat(gates))  # type: ignore[arg-type]
    gate_bytes = f"{LAYERS},{GROUPS[mix]},{EXPERTS}\n".encode() + struct.pack(f"<{len(gate_values)}f", *gate_values)
    metadata = {
        "format": "pt",
        "loragen.answer": ANSWERS[mix],
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.hidden": str(HIDDEN),
        "loragen.edge_model.id": "golden/edge",
        "loragen.edge_model.intermediate": str(INTERMEDIATE),
        "loragen.gates.digest": hashlib.sha256(gate_bytes).hexdigest(),
        "loragen.generator.digest": GENERATOR_DIGEST,
        "loragen.generator.id": "golden",
        "loragen.layers": str(LAYERS),
        "loragen.prompt_tokens": str(PROMPT_TOKENS),
    }
    return file_bytes("bundle", metadata, tensors)


def channel_bytes() -> bytes:
    """A channel that follows both golden bundles."""
    entries = [
        {
            "name": mix,
            "bundle_id": hashlib.sha256(bundle_bytes(mix)).hexdigest(),
            "bundle_bytes": len(bundle_bytes(mix)),
            "recipe_id": hashlib.sha256(recipe_bytes(mix)).hexdigest(),
            "recipe_bytes": len(recipe_bytes(mix)),
            "generator_id": "golden",
            "generator_digest": GENERATOR_DIGEST,
            "bank_digest": hashlib.sha256(bank_bytes(mix)).hexdigest(),
            "edge_model_id": "golden/edge",
            "edge_model_digest": EDGE_DIGEST,
        }
        for mix in sorted(GATES)
    ]
    document = {
        "format": "channel",
        "format_version": 1,
        "name": "lobby",
        "version": 7,
        "specializations": entries,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


# Of a GGUF model: key -> number of the value's type, value; name -> number of the tensor's type, row-major shape, data.
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
GGUF_METADATA: dict[str, tuple[int, object]] = {
    "general.architecture": (STRING, "llama"),
    "general.name": (STRING, "Gölden"),
    "llama.block_count": (UINT32, 1),
    "llama.rope.freq_base": (FLOAT32, 10000.0),
    "llamas.note": (STRING, "of another architecture"),
    "tokenizer.ggml.model": (STRING, "gpt2"),
    "tokenizer.ggml.tokens": (ARRAY, ["a", "ü", ""]),
    "tokenizer.chat_template": (STRING, "{{ messages }}"),
}
GGUF_TENSORS: dict[str, tuple[int, tuple[int, ...], bytes]] = {
    "token_embd.weight": (0, (3, 2), struct.pack("<6f", 1, -2, 0.5, 0, 3, -0.25)),  # F32
    "blk.0.ffn_up.weight": (8, (2, 32), bytes(range(68))),  # Q8_0: 34 bytes a row
}


def gguf_text(text: str) -> bytes:
    """A string as GGUF has it."""
    return struct.pack("<Q", len(text.encode())) + text.encode()


def gguf_value(kind: int, value: object) -> bytes:
    """A metadata value without the number of its type; a list is one of strings."""
    if isinstance(value, list):
        return struct.pack("<IQ", STRING, len(value)) + b"".join(map(gguf_text, value))
    return gguf_text(value) if isinstance(value, str) else struct.pack("<I" if kind == UINT32 else "<f", value)


def gguf_bytes() -> bytes:
    """A GGUF file of version 3 with the golden metadata and tensors, aligned to 32 bytes."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(GGUF_TENSORS), len(GGUF_METADATA))
    for key, (kind, value) in GGUF_METADATA.items():
        head += gguf_text(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    data = b""
    for name, (kind, shape, content) in GGUF_TENSORS.items():
        head += gguf_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, len(data))
        data += content + bytes(-len(content) % 32)
    return head + bytes(-len(head) % 32) + data


def gguf_digest() -> str:
    """Digest of the golden GGUF model."""
    keys = [key for key in GGUF_METADATA if key.startswith(("llama.", "tokenizer.")) or key == "general.architecture"]
    document = {
        "metadata": {
            key: hashlib.sha256(struct.pack("<I", GGUF_METADATA[key][0]) + gguf_value(*GGUF_METADATA[key])).hexdigest()
            for key in keys
        },
        "tensors": {
            name: [kind, shape, hashlib.sha256(content).hexdigest()]
            for name, (kind, shape, content) in GGUF_TENSORS.items()
        },
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def golden_files() -> dict[str, bytes]:
    """File name -> bytes of everything in this folder that is golden."""
    files = {"channel-1.json": channel_bytes(), "model-1.gguf": gguf_bytes()}
    for mix in GATES:
        files[f"bank-1-{mix}.safetensors"] = bank_bytes(mix)
        files[f"recipe-1-{mix}.safetensors"] = recipe_bytes(mix)
        files[f"bundle-1-{mix}.safetensors"] = bundle_bytes(mix)
    return files


if __name__ == "__main__":
    for file_name, file_content in golden_files().items():
        Path(__file__).with_name(file_name).write_bytes(file_content)
