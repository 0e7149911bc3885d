"""How long merge + quantize takes at TinyLlama-1.1B shapes, and how much memory, against copying the same bytes.

The master has random F16 weights of the published shapes (22 layers, 2048 x 5632, vocabulary 32,000) and is made once
into `build/`; the LoRA has rank 16. Every run is a fresh process, so that its peak resident memory is its own. Reported
are medians: of merges that find the untouched tensors in the cache (every merge but a device's first), of the first
merge, and of copying the merged file, both with fsync.

    python -m benchmarks.merge_speed [--runs 3] [--types Q4_0,Q4_K]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from gguf.constants import GGMLQuantizationType

from contract.bundle import TARGETS, Bundle, BundleHeader
from contract.lora import EdgeShape, Lora
from contract.names import MASTER_MODEL_DIGEST, MASTER_MODEL_ID
from edge_runtime.merge import merge
from edge_runtime.merge.gguf_file import float32, float32s, int32s, lay_out, text, texts, uint32
from edge_runtime.merge.output import replacing

BUILD = Path("build")
SHAPE = EdgeShape(layers=22, hidden=2048, intermediate=5632)
VOCABULARY, HEADS, KV_HEADS, RANK = 32_000, 32, 4, 16
DIGEST = "0" * 64
TARGET_SECONDS = {"Q4_0": 10.0}
TARGET_MEGABYTES = 1000.0


def make_master(path: Path) -> None:
    """Write a GGUF F16 master of TinyLlama-1.1B's shapes with random weights, 2.2 GB."""
    hidden, wide, kv = SHAPE.hidden, SHAPE.intermediate, SHAPE.hidden * KV_HEADS // HEADS
    half, full = GGMLQuantizationType.F16, GGMLQuantizationType.F32
    plan: list[tuple[str, tuple[int, ...], GGMLQuantizationType]] = [("token_embd.weight", (VOCABULARY, hidden), half)]
    for layer in range(SHAPE.layers):
        blk = f"blk.{layer}."
        plan += [(f"{blk}{name}.weight", (hidden,), full) for name in ("attn_norm", "ffn_norm")]
        plan += [(f"{blk}{name}.weight", (hidden, hidden), half) for name in ("attn_q", "attn_output")]
        plan += [(f"{blk}{name}.weight", (kv, hidden), half) for name in ("attn_k", "attn_v")]
        plan += [(f"{blk}{name}.weight", (wide, hidden), half) for name in ("ffn_gate", "ffn_up")]
        plan += [(f"{blk}ffn_down.weight", (hidden, wide), half)]
    plan += [("output_norm.weight", (hidden,), full), ("output.weight", (VOCABULARY, hidden), half)]
    metadata = {
        "general.architecture": text("llama"),
        "general.file_type": uint32(1),
        MASTER_MODEL_ID: text("random-tinyllama-1.1b"),
        MASTER_MODEL_DIGEST: text(DIGEST),
        "llama.context_length": uint32(2048),
        "llama.embedding_length": uint32(hidden),
        "llama.block_count": uint32(SHAPE.layers),
        "llama.feed_forward_length": uint32(wide),
        "llama.attention.head_count": uint32(HEADS),
        "llama.attention.head_count_kv": uint32(KV_HEADS),
        "llama.attention.layer_norm_rms_epsilon": float32(1e-5),
        "llama.rope.dimension_count": uint32(hidden // HEADS),
        "tokenizer.ggml.model": text("llama"),
        "tokenizer.ggml.pre": text("default"),
        "tokenizer.ggml.tokens": texts(
            ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))] + [f"t{i}" for i in range(259, VOCABULARY)]
        ),
        "tokenizer.ggml.scores": float32s([-float(i) for i in range(VOCABULARY)]),
        "tokenizer.ggml.token_type": int32s([2, 3, 3] + [6] * 256 + [1] * (VOCABULARY - 259)),
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


def make_bundle() -> Bundle:
    """A random LoRA whose delta is about 3 % of the weights."""
    rng = np.random.default_rng(1)

    def draw(*shape: int) -> np.ndarray[Any, np.dtype[np.float16]]:
        return (rng.standard_normal(shape, np.float32) * 0.0122).astype(np.float16)

    factors = {}
    for block in SHAPE.blocks():
        width_in, width_out = SHAPE.in_out(block[1])
        factors[block] = (draw(RANK, width_in), draw(width_out, RANK))
    header = BundleHeader(
        generator_id="random",
        generator_digest=DIGEST,
        edge_model_id="random-tinyllama-1.1b",
        edge_model_digest=DIGEST,
        layers=SHAPE.layers,
        rank=RANK,
        alpha=float(RANK),
        targets=TARGETS,
        gates_digest=DIGEST,
        prompt_tokens=300,
    )
    return Bundle(header, Lora(SHAPE, RANK, float(RANK), factors))


def _worker(master: Path, out: Path, type_name: str, cache: Path) -> None:
    """One merge in this process; prints what it took."""
    bundle = make_bundle()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = merge(master, bundle, out, type_name, cache)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "seconds": report.seconds,
                "peak_megabytes": peak * 1024 / 1e6,
                "before_megabytes": before * 1024 / 1e6,
                "bytes": report.bytes,
                "min_survival": report.min_survival,
                "strategy": report.strategy,
            }
        )
    )


def _merge_apart(master: Path, out: Path, type_name: str, cache: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.merge_speed", "--worker", str(master), str(out), type_name, str(cache)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _copy_seconds(source: Path, target: Path) -> float:
    started = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 2**23)
        write.flush()
        os.fsync(write.fileno())
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


def run(runs: int = 3, types: tuple[str, ...] = ("Q4_0", "Q4_K")) -> dict[str, dict[str, Any]]:
    """Measure, and return one entry for each figure.

    Args:
        runs: Measurements per median.
        types: Quantization types.
    """
    command = f"python -m benchmarks.merge_speed --runs {runs} --types {','.join(types)}"
    BUILD.mkdir(exist_ok=True)
    master, out, cache = BUILD / "tinyllama-random-f16.gguf", BUILD / "merged.gguf", BUILD / "merge-cache"
    if not master.exists():
        make_master(master)
    figures: dict[str, dict[str, Any]] = {}

    def add(name: str, value: float, unit: str, baseline: float, target: float | None) -> None:
        figures[name] = {
            "value": round(value, 3),
            "unit": unit,
            "baseline": round(baseline, 3),
            "ratio": round(value / baseline, 3),
            "target": target,
            "command": command,
        }

    for type_name in types:
        shutil.rmtree(cache, ignore_errors=True)
        first = _merge_apart(master, out, type_name, cache)
        rows = [_merge_apart(master, out, type_name, cache) for _ in range(runs)]
        copy = statistics.median(_copy_seconds(out, BUILD / "copy.gguf") for _ in range(runs))
        name = f"merge_{type_name.lower()}"
        target = TARGET_SECONDS.get(type_name)
        add(f"{name}_seconds", statistics.median(row["seconds"] for row in rows), "s", copy, target)
        add(f"{name}_first_seconds", first["seconds"], "s", copy, None)
        peak = statistics.median(row["peak_megabytes"] for row in [first, *rows])
        add(f"{name}_peak_megabytes", peak, "MB", master.stat().st_size / 1e6, TARGET_MEGABYTES)
        out.unlink()
    shutil.rmtree(cache, ignore_errors=True)
    return figures


def main(argv: list[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--types", default="Q4_0,Q4_K")
    parser.add_argument("--worker", nargs=4, metavar=("MASTER", "OUT", "TYPE", "CACHE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        master, out, type_name, cache = arguments.worker
        _worker(Path(master), Path(out), type_name, Path(cache))
    else:
        print(json.dumps(run(arguments.runs, tuple(arguments.types.split(","))), indent=2))


if __name__ == "__main__":
    main()
