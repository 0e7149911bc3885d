"""A model of TinyLlama-1.1B's shapes with random weights, and a random LoRA for it: what the benchmarks measure on.

Time and size depend on shapes, not on what the numbers are, and so nobody has to download a model. The base GGUF is
made once into `build/` (2.2 GB) and reused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType

from edge_runtime.gguf.output import replacing
from loragen.contract.bundle import Bundle, BundleHeader
from loragen.contract.gguf_header import float32, float32s, int32s, lay_out, text, texts, uint32
from loragen.contract.lora import EdgeShape, Lora
from loragen.contract.names import BASE_MODEL_DIGEST, BASE_MODEL_ID

BUILD = Path("build")
MODEL_ID = "random-tinyllama-1.1b"
RANK = 16
DIGEST = "0" * 64
"""Stands for every digest: nothing here has an origin."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Shapes of a Llama model; `heads` share `kv_heads` keys and values."""

    edge: EdgeShape
    vocabulary: int
    heads: int
    kv_heads: int


TINYLLAMA = ModelShape(EdgeShape(layers=22, hidden=2048, intermediate=5632), vocabulary=32_000, heads=32, kv_heads=4)


def ensure_base(shape: ModelShape = TINYLLAMA) -> Path:
    """The F16 base GGUF of these shapes in `build/`; made when it is not there."""
    edge = shape.edge
    sizes = (edge.layers, edge.hidden, edge.intermediate, shape.vocabulary)
    name = "tinyllama" if shape == TINYLLAMA else "x".join(map(str, sizes))
    path = BUILD / f"{name}-random-f16.gguf"
    if not path.exists():
        BUILD.mkdir(exist_ok=True)
        _make_base(path, shape)
    return path


def make_bundle(shape: ModelShape = TINYLLAMA) -> Bundle:
    """A random LoRA whose delta is about 3 % of the weights."""
    rng = np.random.default_rng(1)

    def draw(*sizes: int) -> np.ndarray[Any, np.dtype[np.float16]]:
        return (rng.standard_normal(sizes, np.float32) * 0.0122).astype(np.float16)

    factors = {}
    for block in shape.edge.blocks():
        width_in, width_out = shape.edge.in_out(block[1])
        factors[block] = (draw(RANK, width_in), draw(width_out, RANK))
    header = BundleHeader(
        generator_id="random",
        generator_digest=DIGEST,
        edge_model_id=MODEL_ID,
        edge_model_digest=DIGEST,
        layers=shape.edge.layers,
        edge_model_hidden=shape.edge.hidden,
        edge_model_intermediate=shape.edge.intermediate,
        gates_digest=DIGEST,
        prompt_tokens=300,
    )
    return Bundle(header, Lora(shape.edge, factors))


def _make_base(path: Path, shape: ModelShape) -> None:
    hidden, wide, kv = shape.edge.hidden, shape.edge.intermediate, shape.edge.hidden * shape.kv_heads // shape.heads
    vocabulary = shape.vocabulary
    half, full = GGMLQuantizationType.F16, GGMLQuantizationType.F32
    plan: list[tuple[str, tuple[int, ...], GGMLQuantizationType]] = [("token_embd.weight", (vocabulary, hidden), half)]
    for layer in range(shape.edge.layers):
        blk = f"blk.{layer}."
        plan += [(f"{blk}{name}.weight", (hidden,), full) for name in ("attn_norm", "ffn_norm")]
        plan += [(f"{blk}{name}.weight", (hidden, hidden), half) for name in ("attn_q", "attn_output")]
        plan += [(f"{blk}{name}.weight", (kv, hidden), half) for name in ("attn_k", "attn_v")]
        plan += [(f"{blk}{name}.weight", (wide, hidden), half) for name in ("ffn_gate", "ffn_up")]
        plan += [(f"{blk}ffn_down.weight", (hidden, wide), half)]
    plan += [("output_norm.weight", (hidden,), full), ("output.weight", (vocabulary, hidden), half)]
    metadata = {
        "general.architecture": text("llama"),
        "general.file_type": uint32(1),
        BASE_MODEL_ID: text(MODEL_ID),
        BASE_MODEL_DIGEST: text(DIGEST),
        "llama.context_length": uint32(2048),
        "llama.embedding_length": uint32(hidden),
        "llama.block_count": uint32(shape.edge.layers),
        "llama.feed_forward_length": uint32(wide),
        "llama.attention.head_count": uint32(shape.heads),
        "llama.attention.head_count_kv": uint32(shape.kv_heads),
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
        "llama.rope.dimension_count": uint32(hidden // shape.heads),
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.pre": text("default"),
        "tokenizer.ggml.tokens": texts(
            ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))] + [f"t{i}" for i in range(259, vocabulary)]
        ),
        "tokenizer.ggml.scores": float32s([-float(i) for i in range(vocabulary)]),
        "tokenizer.ggml.token_type": int32s([2, 3, 3] + [6] * 256 + [1] * (vocabulary - 259)),
        "tokenizer.ggml.bos_token_id": uint32(1),
        "tokenizer.ggml.eos_token_id": uint32(2),
    }
    head, header = lay_out(plan, metadata)
    rng = np.random.default_rng(0)
    # One pool of numbers, entered at a different place by each tensor: drawing 1.1 billion would take minutes.
    pool = (rng.standard_normal(2**24 + 2**16, np.float32) * 0.02).astype(np.float16)
    with replacing(path, header.file_bytes) as file:
        file.write(head)
        for info in header.tensors:
            file.seek(info.offset)
            if info.type is full:
                file.write(np.ones(info.shape, np.float32).tobytes())
                continue
            left = info.rows * info.columns
            while left:
                start = int(rng.integers(2**16))
                part = pool[start : start + min(left, 2**24)]
                file.write(part.tobytes())
                left -= part.size
