"""How long merge + quantize takes at TinyLlama-1.1B shapes, and how much memory, against copying the same bytes.

The base GGUF has random F16 weights (`tinyllama`); the LoRA has rank 16. Every run is a fresh process, so that its peak
resident memory is its own. Reported are medians: of merges that find the untouched tensors in the cache (every merge
but a device's first), of the first merge, and of copying the merged file, both with fsync.

    python -m benchmarks.merge_speed [--runs 3] [--types Q4_0,Q4_K]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Figure, Figures, print_figures
from benchmarks.memory import status_bytes
from benchmarks.tinyllama import BUILD, ensure_base, make_bundle
from edge_runtime.gguf.quantization import Quantization
from edge_runtime.merge import merge

RUNS = 3
TYPES = ("Q4_0", "Q4_K")
TARGET_SECONDS = {"Q4_0": 10.0}
TARGET_MEGABYTES = 1000.0


def _worker(base_gguf: Path, out: Path, type_name: str, cache: Path) -> None:
    """One merge in this process; prints what it took."""
    bundle = make_bundle()
    report = merge(base_gguf, bundle, out, Quantization(type_name), cache)
    print(json.dumps({"seconds": report.seconds, "peak_megabytes": status_bytes("VmHWM") / 1e6}))


def _merge_apart(base_gguf: Path, out: Path, type_name: str, cache: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.merge_speed",
        "--worker",
        str(base_gguf),
        str(out),
        type_name,
        str(cache),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
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


def run(runs: int = RUNS, types: Sequence[str] = TYPES) -> Figures:
    """Measure each quantization.

    Args:
        runs: Measurements per median.
        types: Quantization types.
    """
    command = f"python -m benchmarks.merge_speed --runs {runs} --types {','.join(types)}"
    base_gguf, out, cache = ensure_base(), BUILD / "merged.gguf", BUILD / "merge-cache"
    figures: dict[str, Figure] = {}
    for type_name in types:
        shutil.rmtree(cache, ignore_errors=True)
        first = _merge_apart(base_gguf, out, type_name, cache)
        rows = [_merge_apart(base_gguf, out, type_name, cache) for _ in range(runs)]
        copy = statistics.median(_copy_seconds(out, BUILD / "copy.gguf") for _ in range(runs))
        name = f"merge_{type_name.lower()}"
        seconds = statistics.median(row["seconds"] for row in rows)
        peak = statistics.median(row["peak_megabytes"] for row in [first, *rows])
        figures |= {
            f"{name}_seconds": Figure.of(seconds, "s", command, baseline=copy, target=TARGET_SECONDS.get(type_name)),
            f"{name}_first_seconds": Figure.of(first["seconds"], "s", command, baseline=copy),
            f"{name}_peak_megabytes": Figure.of(
                peak, "MB", command, baseline=base_gguf.stat().st_size / 1e6, target=TARGET_MEGABYTES
            ),
        }
        out.unlink()
    shutil.rmtree(cache, ignore_errors=True)
    return figures


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--worker", nargs=4, metavar=("BASE", "OUT", "TYPE", "CACHE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.worker:
        base_gguf, out, type_name, cache = arguments.worker
        _worker(Path(base_gguf), Path(out), type_name, Path(cache))
    else:
        figures = run(arguments.runs, tuple(arguments.types.split(",")))
        print_figures(figures)


if __name__ == "__main__":
    main()
