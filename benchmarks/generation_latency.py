"""How long `POST /generate-lora` takes, as a client sees it: p50 for new task descriptions and for known ones.

The real service runs as a child process on loopback with a fresh embedded store. The requests are the demo's three task
descriptions in turn, each made distinct by a number in its text, one after another over one connection. Every
description is posted twice: the first answer must be generated, the second must come from the store. The baseline of
the second is the first.

    python -m benchmarks.generation_latency [--pair DIR] [--requests 60]
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures, print_figures
from demo.tasks import load_tasks
from loragen import CloudClient, LocalStack
from loragen.client import ModelPair
from loragen.default_pair import DEFAULT_PAIR

REQUESTS = 60
WARM_UP = 6
TARGET_UNCACHED_MS = 150.0
TARGET_CACHED_MS = 10.0


def run(pair: Path = DEFAULT_PAIR.folder, requests: int = REQUESTS) -> Figures:
    """Measure with a model pair.

    Args:
        pair: Directory with `generator`, and `edge` and `cloud` where the models are not published ones.
        requests: Descriptions that count, each posted twice.

    Raises:
        BenchmarkError: The pair is missing, or an answer is cached when it must not be, or the other way round.
        ClientError: The service did not start, or did not answer.
    """
    if not (pair / "generator" / "generator.json").is_file():
        raise BenchmarkError(f"{pair / 'generator'} is missing: this figure needs a model pair, see --pair")
    with LocalStack(ModelPair.at(pair), device=False) as stack:
        uncached, cached = measure(stack.cloud, make_requests(WARM_UP + requests), WARM_UP)
    command = f"python -m benchmarks.generation_latency --pair {pair} --requests {requests}"
    return {
        "generation_uncached_p50": Figure.of(uncached, "ms", command, target=TARGET_UNCACHED_MS),
        "generation_cached_p50": Figure.of(cached, "ms", command, baseline=uncached, target=TARGET_CACHED_MS),
    }


def make_requests(count: int) -> list[Mapping[str, Any]]:
    """Bodies of `POST /generate-lora`, no two alike."""
    tasks = load_tasks()
    requests = (tasks[index % len(tasks)].request for index in range(count))
    return [
        {**request, "description": f"{request.get('description', '')} Customer {index}."}
        for index, request in enumerate(requests)
    ]


def measure(cloud: CloudClient, requests: Sequence[Mapping[str, Any]], warm_up: int) -> tuple[float, float]:
    """Post every request twice; the medians in milliseconds, generated and from the store, after the first `warm_up`.

    Raises:
        BenchmarkError: An answer is cached when it must not be, or the other way round.
        ClientError: An answer is refused.
    """
    generated, stored = [], []
    for request in requests:
        generated.append(_post(cloud, request, cached=False))
        stored.append(_post(cloud, request, cached=True))
    return statistics.median(generated[warm_up:]), statistics.median(stored[warm_up:])


def _post(cloud: CloudClient, request: Mapping[str, Any], *, cached: bool) -> float:
    started = time.perf_counter()
    answer = cloud.generate(request)
    milliseconds = (time.perf_counter() - started) * 1000
    if answer.cached is not cached:
        raise BenchmarkError(f"expected an answer with cached = {cached}, found the opposite")
    return milliseconds


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=DEFAULT_PAIR.folder)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    arguments = parser.parse_args(argv)
    figures = run(arguments.pair, arguments.requests)
    print_figures(figures)


if __name__ == "__main__":
    main()
