"""How long merge + quantize takes at TinyLlama-1.1B shapes, and how much memory, against copying the same bytes.

The master has random F16 weights (`tinyllama`); the LoRA has rank 16. Every run is a fresh process, so that its peak
resident memory is its own. Reported are medians: of merges that find the untouched tensors in the cache (every merge
but a device's first), of the first merge, and of copying the merged file, both with fsync.

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

from benchmarks.tinyllama import BUILD, ensure_master, make_bundle
from edge_runtime.merge import merge

TARGET_SECONDS = {"Q4_0": 10.0}
TARGET_MEGABYTES = 1000.0


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
    master, out, cache = ensure_master(), BUILD / "merged.gguf", BUILD / "merge-cache"
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
