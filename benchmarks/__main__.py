"""`python -m benchmarks [names...]`: measures the published figures, prints them and writes `build/bench.json`.

Rules: benchmarks run one after another, because they share the machine's cores; the document is written after each, so
that a later failure loses nothing; figures of benchmarks that were not asked for stay in it. Without names, all run but
those that want more than a laptop. The exit code is 0 when everything asked for was measured, whatever the figures are:
on a slow machine a missed target is no failure.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import (
    answer_latency,
    cloud_speed,
    edge_shapes,
    fleet,
    generation_latency,
    grammar_cost,
    idle_memory,
    merge_speed,
    serving_modes,
    shared_slot,
    sizes,
    swaps,
)
from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figures, merge_figures, render_table
from loragen.client import ClientError
from loragen.contract.errors import ContractError
from loragen.default_pair import DEFAULT_PAIR
from loragen.web.errors import ServiceError

DOCUMENT = Path("build/bench.json")

Benchmark = Callable[[Path], Figures]
"""Measures; gets the directory of the model pair."""


def _tenant_timing(pair: Path) -> Figures:
    from benchmarks import tenant_timing  # scipy, which only this one needs

    return tenant_timing.run(pair)


def _gpu_generate(_pair: Path) -> Figures:
    from benchmarks import gpu_generate  # torch, seconds that the others need not wait for

    return gpu_generate.run()


BENCHMARKS: Mapping[str, Benchmark] = {
    "sizes": lambda _pair: sizes.run(),
    "generation_latency": lambda pair: generation_latency.run(pair),
    "merge_speed": lambda _pair: merge_speed.run(),
    "answer_latency": lambda _pair: answer_latency.run(),
    "idle_memory": lambda _pair: idle_memory.run(),
    "grammar_cost": lambda _pair: grammar_cost.run(),
    "shared_slot": lambda _pair: shared_slot.run(),
    "gpu_generate": _gpu_generate,
    "cloud_speed": lambda pair: cloud_speed.run(pair),
    "tenant_timing": _tenant_timing,
    "fleet": lambda pair: fleet.run(pair),
    "edge_shapes": lambda _pair: edge_shapes.run(),
    "serving_modes": lambda _pair: serving_modes.run(),
    "swaps": lambda _pair: {**swaps.run("attached"), **swaps.run("merged")},
}

ON_REQUEST = frozenset({"gpu_generate", "edge_shapes", "serving_modes", "swaps"})
"""Run only by name: they are made for a GPU, for 12 GB of memory and 14 GB of disk, and take many minutes."""

_FAILURES = (BenchmarkError, ClientError, ServiceError, ContractError, OSError, subprocess.CalledProcessError)


def main(arguments: Sequence[str] | None = None, benchmarks: Mapping[str, Benchmark] = BENCHMARKS) -> int:
    """Measure what is asked for; 0 when all of it could be measured, 1 otherwise."""
    options = _parse(arguments, benchmarks)
    console, errors = Console(), Console(stderr=True)
    _warn_when_busy(errors)
    measured: dict[str, Figures] = {}
    names = options.names or [name for name in benchmarks if name not in ON_REQUEST]
    for name in names:
        started = time.monotonic()
        with console.status(f"{name} ..."):
            try:
                measured[name] = benchmarks[name](options.pair)
                merge_figures(options.out, measured[name])
            except _FAILURES as error:
                measured.pop(name, None)
                errors.print(f"{name} failed: {error}", style="red", markup=False)
                continue
        console.print(f"{name}: {len(measured[name])} figures in {time.monotonic() - started:.0f} s", highlight=False)
    if measured:
        console.print(render_table({name: figure for figures in measured.values() for name, figure in figures.items()}))
        console.print(f"{options.out} written")
    return 0 if len(measured) == len(set(names)) else 1


def _warn_when_busy(errors: Console) -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        message = (
            f"{load:.1f} of {cores} cores were busy in the last minute: times will be longer than on a quiet machine"
        )
        errors.print(message, style="yellow", highlight=False)


def _parse(arguments: Sequence[str] | None, benchmarks: Mapping[str, Benchmark]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure the published figures, on a machine with nothing else to do."
    )
    on_request = ", ".join(sorted(ON_REQUEST))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"{', '.join(benchmarks)} (default: all but {on_request})"
    )
    parser.add_argument(
        "--pair", type=Path, default=DEFAULT_PAIR.folder, metavar="DIR", help="model pair (default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=DOCUMENT, metavar="FILE", help="document (default: %(default)s)")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in benchmarks]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(benchmarks)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
