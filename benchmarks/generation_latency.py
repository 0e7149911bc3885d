"""How long `POST /generate-lora` takes, as a client sees it: p50 for new task descriptions and for known ones.

The real service runs as a child process on loopback with a fresh embedded store. The requests are the demo's three task
descriptions in turn, each made distinct by a number in its text, one after another over one connection. Every
description is posted twice: the first answer must be generated, the second must come from the store. The baseline of
the second is the first.

    python -m benchmarks.generation_latency [--pair models/nano] [--requests 60]
"""

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures
from demo.services import free_ports, generator_source, start_child, wait_until_ready
from demo.tasks import load_tasks

PAIR = Path("models/nano")
REQUESTS = 60
WARM_UP = 6
TARGET_UNCACHED_MS = 150.0
TARGET_CACHED_MS = 10.0
REQUEST_TIMEOUT_SECONDS = 30.0


def run(pair: Path = PAIR, requests: int = REQUESTS) -> Figures:
    """Measure with a model pair.

    Args:
        pair: Directory with `generator`, `edge`, and `cloud` unless the cloud model is published, as `models/nano`.
        requests: Descriptions that count, each posted twice.

    Raises:
        BenchmarkError: The pair is missing, or the service did not answer as it must.
        DemoError: The service did not start.
    """
    if not (pair / "generator" / "generator.json").is_file():
        raise BenchmarkError(f"{pair / 'generator'} is missing: this figure needs a model pair, see --pair")
    with _service(pair) as client:
        uncached, cached = measure(client, make_requests(WARM_UP + requests), WARM_UP)
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


def measure(client: httpx2.Client, requests: Sequence[Mapping[str, Any]], warm_up: int) -> tuple[float, float]:
    """Post every request twice; the medians in milliseconds, generated and from the store, after the first `warm_up`.

    Raises:
        BenchmarkError: An answer is refused, or is cached when it must not be, or the other way round.
    """
    generated, stored = [], []
    for request in requests:
        generated.append(_post(client, request, cached=False))
        stored.append(_post(client, request, cached=True))
    return statistics.median(generated[warm_up:]), statistics.median(stored[warm_up:])


def _post(client: httpx2.Client, request: Mapping[str, Any], *, cached: bool) -> float:
    started = time.perf_counter()
    try:
        response = client.post("/generate-lora", json=request)
    except httpx2.TransportError as error:
        raise BenchmarkError(f"the cloud service does not answer: {type(error).__name__}") from error
    milliseconds = (time.perf_counter() - started) * 1000
    if response.status_code != 200:
        raise BenchmarkError(f"the cloud service answered {response.status_code}: {response.text[:300]}")
    if response.json()["cached"] is not cached:
        raise BenchmarkError(f"expected an answer with cached = {cached}, found the opposite")
    return milliseconds


@contextlib.contextmanager
def _service(pair: Path) -> Iterator[httpx2.Client]:
    """A client of a service of its own; both end with the block."""
    port, grpc_port = free_ports(2)
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loragen-bench-")))
        settings = {
            "LORAGEN_CLOUD_GENERATORS": json.dumps([generator_source(pair)]),
            "LORAGEN_CLOUD_HOST": "127.0.0.1",
            "LORAGEN_CLOUD_PORT": str(port),
            "LORAGEN_CLOUD_GRPC_PORT": str(grpc_port),
            "LORAGEN_CLOUD_STORE_URL": f"sqlite:///{state / 'store.sqlite3'}",
            "HF_HUB_OFFLINE": "1",
        }
        child = start_child("cloud service", [sys.executable, "-m", "cloud_service"], settings, state / "service.log")
        stack.callback(child.stop)
        client = stack.enter_context(
            httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)
        )
        wait_until_ready("cloud service", lambda: _is_ready(client), [child])
        yield client


def _is_ready(client: httpx2.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=PAIR)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    arguments = parser.parse_args(argv)
    figures = run(arguments.pair, arguments.requests)
    print(json.dumps({name: asdict(figure) for name, figure in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
