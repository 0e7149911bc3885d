"""Helper: the formats and the assembly once more, in plain Python: struct, json, loops, no `contract`, no numpy.

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
    "choice": [[[0.0, 0.0, 0.0], [0.3, 0.0, -0.1], [0.7, 0.6, 0.0]]],
}
MIXES = {"parameters": "parameters", "deltas": "deltas", "choice": "parameters"}
GROUPS = {"parameters": 1, "deltas": 3, "choice": 3}
FIRST_LAYERS = {"parameters": 0, "deltas": 0, "choice": 1}
ANSWERS = {
    "parameters": '{"type":"text"}',
    "deltas": '{"choices":["yes","n\\u00f6"],"type":"choice"}',
    "choice": '{"choices":["yes","no"],"codes":[7,5],"type":"choice"}',
}
RESIDUAL_PROMPTS = {"parameters": ("", 0), "deltas": ("Sort each mail.\nBe brief: \u96c6.", 9), "choice": ("", 0)}
CODES, KEY_LENGTH = (7, 5, 9), 3
# By choice layer, here both layers, and choice.
KEYS = [[[0.3, -0.7, 0.0], [1.1, 1e-12, -2.0]], [[0.0, 0.9, 0.1], [-0.2, 0.4, 3.0]]]

# Of a bundle that no generator made, by module: rank, width of the input, width of the output.
IMPORTED = {
    "mlp.down": (1, INTERMEDIATE, HIDDEN),
    "self_attn.k": (2, HIDDEN, 2),
    "self_attn.o": (3, 8, HIDDEN),
    "self_attn.q": (1, HIDDEN, 8),
    "self_attn.v": (2, HIDDEN, 2),
}

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


def choice_values(layer: int, side: str) -> list[float]:
    """Numbers of one tensor of the choice head, in the same way."""
    count = KEY_LENGTH * INTERMEDIATE if side == "A" else HIDDEN * len(CODES)
    start = 5001 + 1000 * layer + 100 * (side == "B")
    return [((start + index) * 7919 % 1025 - 512) / 1024 for index in range(count)]


def bank_tensors(case: str) -> dict[str, Tensor]:
    """Every tensor of a golden bank."""
    tensors: dict[str, Tensor] = {}
    if case == "choice":
        for layer in range(LAYERS):
            tensors[f"layers.{layer}.choice.A"] = ("F16", (KEY_LENGTH, INTERMEDIATE), choice_values(layer, "A"))
            tensors[f"layers.{layer}.choice.B"] = ("F16", (HIDDEN, len(CODES)), choice_values(layer, "B"))
    for layer, projection in product(range(FIRST_LAYERS[case], LAYERS), PROJECTIONS):
        width_in, width_out = widths(projection)
        for side, shape in (("A", (EXPERTS, RANK, width_in)), ("B", (EXPERTS, width_out, RANK))):
            tensors[f"layers.{layer}.{projection}.{side}"] = ("F16", shape, expert_values(layer, projection, side))
    return tensors


def bank_bytes(case: str) -> bytes:
    """A golden bank."""
    head = f'{{"codes":[{",".join(map(str, CODES))}],"first_layer":0,"rank":{KEY_LENGTH}}}'
    metadata = {
        "loragen.alpha": str(ALPHA),
        "loragen.choice": head if case == "choice" else "null",
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.hidden": str(HIDDEN),
        "loragen.edge_model.id": "golden/edge",
        "loragen.edge_model.intermediate": str(INTERMEDIATE),
        "loragen.experts": str(EXPERTS),
        "loragen.first_layer": str(FIRST_LAYERS[case]),
        "loragen.generator.id": "golden",
        "loragen.groups": str(GROUPS[case]),
        "loragen.layers": str(LAYERS),
        "loragen.mix": MIXES[case],
        "loragen.rank": str(RANK),
    }
    return file_bytes("bank", metadata, bank_tensors(case))


def singles(values: Sequence[Sequence[Sequence[float]]]) -> list[list[list[float]]]:
    """Numbers as float32 holds them."""
    return [[[single(number) for number in row] for row in rows] for rows in values]


def recipe_tensors(case: str) -> dict[str, Tensor]:
    """Gates, and keys where the bank has a choice head."""
    found = {"gates": singles(GATES[case])}
    if case == "choice":
        found["keys"] = singles(KEYS)
    return {
        name: ("F32", (len(values), len(values[0]), len(values[0][0])), flat(flat(values)))  # type: ignore[arg-type]
        for name, values in found.items()
    }


def recipe_bytes(case: str) -> bytes:
    """A golden recipe."""
    metadata = {
        "loragen.answer": ANSWERS[case],
        "loragen.bank.digest": hashlib.sha256(bank_bytes(case)).hexdigest(),
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.id": "golden/edge",
        "loragen.generator.digest": GENERATOR_DIGEST,
        "loragen.generator.id": "golden",
        "loragen.prompt_tokens": str(PROMPT_TOKENS),
        "loragen.residual_prompt": RESIDUAL_PROMPTS[case][0],
        "loragen.residual_prompt_tokens": str(RESIDUAL_PROMPTS[case][1]),
    }
    return file_bytes("recipe", metadata, recipe_tensors(case))


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


def mix(
    kind: str,
    gates: Sequence[float],
    experts_a: Sequence[Sequence[Sequence[float]]],
    experts_b: Sequence[Sequence[Sequence[float]]],
    factor: float,
) -> tuple[list[list[float]], list[list[float]]]:
    """Rows of A and of B under a mix, of at least one gate that is not zero."""
    if kind == "deltas":
        return mix_deltas(gates, experts_a, experts_b, factor)
    mixed_a = mix_parameters(gates, [flat(expert) for expert in experts_a])
    mixed_b = mix_parameters(gates, [flat(expert) for expert in experts_b], factor)
    (rows_a,) = nested(mixed_a, (1, len(experts_a[0]), len(experts_a[0][0])))
    (rows_b,) = nested(mixed_b, (1, len(experts_b[0]), len(experts_b[0][0])))
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


def choice_part(directions: Sequence[Sequence[float]], keys: Sequence[Sequence[float]]) -> list[list[float]]:
    """sum_i directions[:, i] keys[i, :], rows of (hidden, key length), rounded as the specification says."""
    rows = []
    for direction in directions:
        totals = [0.0] * len(keys[0])
        for along, key in zip(direction, keys, strict=False):  # a task may have fewer choices than the bank has codes
            totals = [single(total + single(along * number)) for total, number in zip(totals, key, strict=True)]
        rows.append([stored(total) for total in totals])
    return rows


def mixed_factors(case: str, layer: int, projection: str) -> tuple[list[list[float]], list[list[float]]] | None:
    """What the gates mix: rows of A (r, in) and of B (out, r); None where they are all zero or there are none."""
    place = layer - FIRST_LAYERS[case]
    if place < 0:
        return None
    gates = [single(gate) for gate in GATES[case][place][PROJECTIONS.index(projection) if GROUPS[case] == 3 else 0]]
    if not any(gates):
        return None
    width_in, width_out = widths(projection)
    a = nested(expert_values(layer, projection, "A"), (EXPERTS, RANK, width_in))
    b = nested(expert_values(layer, projection, "B"), (EXPERTS, width_out, RANK))
    return mix(MIXES[case], gates, a, b, scale(ALPHA, RANK))


def bundle_bytes(case: str) -> bytes:
    """The bundle that the golden bank and recipe stand for."""
    tensors: dict[str, Tensor] = {}
    for layer, projection in product(range(LAYERS), PROJECTIONS):
        width_in, width_out = widths(projection)
        rows_a, rows_b = mixed_factors(case, layer, projection) or ([], [[] for _ in range(width_out)])
        if case == "choice" and projection == "down":
            head_a = nested([stored(value) for value in choice_values(layer, "A")], (1, KEY_LENGTH, width_in))[0]
            head_b = nested(choice_values(layer, "B"), (1, width_out, len(CODES)))[0]
            rows_a += head_a
            rows_b = [
                mixed + head for mixed, head in zip(rows_b, choice_part(head_b, singles(KEYS)[layer]), strict=True)
            ]
        if rows_a:
            prefix = f"base_model.model.model.layers.{layer}.mlp.{projection}_proj"
            tensors[f"{prefix}.lora_A.weight"] = ("F16", (len(rows_a), width_in), flat(rows_a))
            tensors[f"{prefix}.lora_B.weight"] = ("F16", (width_out, len(rows_a)), flat(rows_b))
    digested = b""
    for _, shape, values in recipe_tensors(case).values():
        digested += ",".join(map(str, shape)).encode() + b"\n" + struct.pack(f"<{len(values)}f", *values)
    metadata = {
        "format": "pt",
        "loragen.answer": ANSWERS[case],
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.hidden": str(HIDDEN),
        "loragen.edge_model.id": "golden/edge",
        "loragen.edge_model.intermediate": str(INTERMEDIATE),
        "loragen.gates.digest": hashlib.sha256(digested).hexdigest(),
        "loragen.generator.digest": GENERATOR_DIGEST,
        "loragen.generator.id": "golden",
        "loragen.layers": str(LAYERS),
        "loragen.prompt_tokens": str(PROMPT_TOKENS),
        "loragen.residual_prompt": RESIDUAL_PROMPTS[case][0],
        "loragen.residual_prompt_tokens": str(RESIDUAL_PROMPTS[case][1]),
    }
    return file_bytes("bundle", metadata, tensors)


def imported_bytes() -> bytes:
    """A bundle that no generator made: queries, keys, values and output of one layer, and one feed-forward matrix."""
    metadata = {
        "format": "pt",
        "loragen.answer": ANSWERS["deltas"],
        "loragen.edge_model.digest": EDGE_DIGEST,
        "loragen.edge_model.hidden": str(HIDDEN),
        "loragen.edge_model.id": "golden/edge",
        "loragen.edge_model.intermediate": str(INTERMEDIATE),
        "loragen.gates.digest": "",
        "loragen.generator.digest": "",
        "loragen.generator.id": "",
        "loragen.layers": str(LAYERS),
        "loragen.prompt_tokens": "0",
        "loragen.residual_prompt": "",
        "loragen.residual_prompt_tokens": "0",
    }
    tensors: dict[str, Tensor] = {}
    for number, (module, (rank, width_in, width_out)) in enumerate(IMPORTED.items()):
        for side, shape in (("A", (rank, width_in)), ("B", (width_out, rank))):
            start = 9001 + 100 * number + 10 * (side == "B")
            values = [((start + index) * 7919 % 1025 - 512) / 1024 for index in range(prod(shape))]
            tensors[f"base_model.model.model.layers.1.{module}_proj.lora_{side}.weight"] = ("F16", shape, values)
    return file_bytes("bundle", metadata, tensors)


def channel_entry(name: str, bundle: bytes, recipe: dict[str, object] | None) -> dict[str, object]:
    """One specialization of a channel."""
    return {
        "name": name,
        "bundle_id": hashlib.sha256(bundle).hexdigest(),
        "bundle_bytes": len(bundle),
        "edge_model_id": "golden/edge",
        "edge_model_digest": EDGE_DIGEST,
        "recipe": recipe,
    }


def channel_bytes() -> bytes:
    """A channel that follows the first golden bundles; later ones do not change it."""
    entries = [channel_entry("imported", imported_bytes(), None)]
    for case in ("choice", "deltas", "parameters"):
        recipe: dict[str, object] = {
            "id": hashlib.sha256(recipe_bytes(case)).hexdigest(),
            "bytes": len(recipe_bytes(case)),
            "generator_id": "golden",
            "generator_digest": GENERATOR_DIGEST,
            "bank_digest": hashlib.sha256(bank_bytes(case)).hexdigest(),
        }
        entries.append(channel_entry(case, bundle_bytes(case), recipe))
    document = {
        "format": "channel",
        "format_version": 1,
        "name": "lobby",
        "version": 7,
        "specializations": sorted(entries, key=lambda entry: str(entry["name"])),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def golden_files() -> dict[str, bytes]:
    """File name -> bytes of everything in this folder that is golden."""
    files = {
        "bundle-1-imported.safetensors": imported_bytes(),
        "channel-1.json": channel_bytes(),
    }
    for case in GATES:
        files[f"bank-1-{case}.safetensors"] = bank_bytes(case)
        files[f"recipe-1-{case}.safetensors"] = recipe_bytes(case)
        files[f"bundle-1-{case}.safetensors"] = bundle_bytes(case)
    return files


if __name__ == "__main__":
    for file_name, file_content in golden_files().items():
        Path(__file__).with_name(file_name).write_bytes(file_content)
