"""How many bytes go over the wire at TinyLlama-1.1B shapes, and how long assembly takes.

Rank 16, n = 8 experts, K = 2, one group of gates, as in the paper; numbers are random, since sizes do not depend on
them. A bundle's baseline is the bytes of its float16 numbers alone, a recipe's is the bundle that it stands for.
`build_bundle_ms` is what cloud and device both do, from an open bank to the bundle's bytes; its baseline is hashing
these bytes once, which a device must do when it downloads a bundle instead. Targets: 16 MB and 4 KB, in powers of two.

    python -m benchmarks.sizes [--repeats 7]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure, Figures, print_figures
from benchmarks.tinyllama import BUILD, DIGEST, MODEL_ID, RANK, TINYLLAMA, ModelShape
from loragen.contract.assembly import build_bundle
from loragen.contract.bank import Bank, BankHeader, write_bank
from loragen.contract.bundle import content_id
from loragen.contract.recipe import Recipe, encode_recipe

EXPERTS = 8
TOP_K = 2
REPEATS = 7
TARGET_BUNDLE_BYTES = 16 * 2**20
TARGET_RECIPE_BYTES = 4 * 2**10


def run(repeats: int = REPEATS, shape: ModelShape = TINYLLAMA) -> Figures:
    """Measure.

    Args:
        repeats: Timings per median.
        shape: Shapes of the model; others than TinyLlama's only to try the script out.
    """
    command = f"python -m benchmarks.sizes --repeats {repeats}"
    rng = np.random.default_rng(3)
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sizes-", dir=BUILD) as directory:
        bank = _make_bank(Path(directory, "bank.safetensors"), shape, rng)
        recipe = Recipe("random", DIGEST, bank.digest, MODEL_ID, DIGEST, 300, _draw_gates(shape, rng))
        bundle = build_bundle(bank, recipe)
        build_ms = _median_ms(lambda: build_bundle(bank, recipe), repeats)
        hash_ms = _median_ms(lambda: content_id(bundle), repeats)
    numbers_bytes = 2 * shape.edge.lora_numbers(RANK for _ in shape.edge.blocks())
    recipe_bytes = len(encode_recipe(recipe))
    return {
        "bundle_bytes": Figure.of(
            len(bundle), "bytes", command, baseline=numbers_bytes, target=float(TARGET_BUNDLE_BYTES)
        ),
        "recipe_bytes": Figure.of(
            recipe_bytes, "bytes", command, baseline=len(bundle), target=float(TARGET_RECIPE_BYTES)
        ),
        "build_bundle_ms": Figure.of(build_ms, "ms", command, baseline=hash_ms),
    }


def _make_bank(path: Path, shape: ModelShape, rng: np.random.Generator) -> Bank:
    header = BankHeader("random", MODEL_ID, DIGEST, shape.edge, 1, EXPERTS, RANK, float(RANK), "parameters")
    tensors = {
        name: (rng.standard_normal(spec.shape, np.float32) * 0.0122).astype(np.float16)
        for name, spec in header.tensor_specs().items()
    }
    write_bank(path, header, tensors)
    return Bank.open(path)


def _draw_gates(shape: ModelShape, rng: np.random.Generator) -> NDArray[np.float32]:
    """(layers, 1, experts) float32 gates of which `TOP_K` are positive and sum to 1, as topk_softmax gives them."""
    gates = np.zeros((shape.edge.layers, 1, EXPERTS), np.float32)
    for layer in gates:
        weights = rng.random(TOP_K, np.float32) + 0.1
        layer[0, rng.permutation(EXPERTS)[:TOP_K]] = weights / weights.sum()
    return gates


def _median_ms(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args(argv)
    print_figures(run(arguments.repeats))


if __name__ == "__main__":
    main()
