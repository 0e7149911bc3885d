"""What clients notice while a device changes what it serves: a new bundle after another, under load from eight clients.

A real device process follows a channel in which one name gets a new random bundle as soon as the last one serves. With
`merged`, each bundle is two changes of what serves: it is attached, then merged. Eight clients ask that name without a
pause, over HTTP, for answers of 16 tokens. Beforehand they ask for a while with nothing being changed.

- `swap_failed_requests_*`: answers other than 200, or that do not name one of the bundles; the target is none.
- `swap_p99_*`: of the time of an answer while bundles change; baseline: while none does. The target is twice that.
- `swap_seconds_*`: from the publication of a bundle until it serves, the canary's trial included: the median.

On two cores, 200 changes take about 10 minutes.

    python -m benchmarks.swaps [--swaps 200] [--mode attached|merged] [--model FILE.gguf]
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from benchmarks.errors import BenchmarkError
from benchmarks.figures import Figure, Figures, print_figures
from benchmarks.http_load import Connection
from edge_runtime.gguf.base_gguf import BaseGguf, find_base_gguf
from loragen import DeviceClient
from loragen.client.process import ServiceProcess, free_ports
from loragen.contract.bundle import Bundle, BundleHeader, content_id, encode_bundle
from loragen.contract.channel import Channel, Specialization, encode_channel
from loragen.contract.digest import model_digest
from loragen.contract.lora import EdgeShape, Lora
from loragen.default_pair import DEFAULT_PAIR

SWAPS = 200
CLIENTS = 8
ALONE_SECONDS = 30.0
ANSWER_TOKENS = 16
MOST_P99 = 2.0

_NAME = "changing"
_RANK = 8
_SCALE = 0.02
_LATE_SECONDS = 120.0
_WARM_SECONDS = 2.0
_COMMAND = "python -m benchmarks.swaps"


@dataclass(slots=True)
class Load:
    """What the clients saw.

    Attributes:
        answers: When each began and how long it took, in seconds.
        failures: What was wrong with those that failed.
    """

    answers: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def p99(self, start: float, end: float) -> float:
        """The 99th percentile of what began in between, in seconds."""
        found = sorted(seconds for began, seconds in self.answers if start <= began < end)
        if not found:
            raise BenchmarkError("no request was answered")
        return found[min(len(found) - 1, int(0.99 * len(found)))]


class SmallCloud:
    """A channel, and the bundles in it.

    Attributes:
        ids: Of all bundles that were ever in it.
    """

    def __init__(self, digest: str, shape: EdgeShape) -> None:
        self._digest, self._shape = digest, shape
        self._listed: dict[str, Specialization] = {}
        self._bodies: dict[str, bytes] = {}
        self._version = 0
        self.ids: set[str] = set()

    def publish(self, name: str) -> str:
        """Give the name a new bundle, and return its id."""
        self._version += 1
        data = encode_bundle(random_bundle(self._digest, self._shape, self._version))
        bundle_id = content_id(data)
        self._listed[name] = Specialization(name, bundle_id, len(data), "model", self._digest, recipe=None)
        listed = tuple(self._listed[each] for each in sorted(self._listed))
        self.ids.add(bundle_id)
        self._bodies[f"/bundles/{bundle_id}"] = data
        wanted = {"/channels/default", *(f"/bundles/{each.bundle_id}" for each in listed)}
        self._bodies = {path: body for path, body in self._bodies.items() if path in wanted}
        self._bodies["/channels/default"] = encode_channel(Channel("default", self._version, listed))
        return bundle_id

    def find(self, path: str) -> bytes | None:
        """The body at a path."""
        return self._bodies.get(path)


def random_bundle(digest: str, shape: EdgeShape, seed: int) -> Bundle:
    """A LoRA of a user's own for the model of this digest."""
    rng = np.random.default_rng(seed)
    factors = {}
    for block in shape.blocks():
        width_in, width_out = shape.in_out(block[1])
        sizes = ((_RANK, width_in), (width_out, _RANK))
        a, b = ((rng.standard_normal(size, np.float32) * _SCALE).astype(np.float16) for size in sizes)
        factors[block] = (a, b)
    header = BundleHeader(
        generator_id=None,
        generator_digest=None,
        edge_model_id="model",
        edge_model_digest=digest,
        layers=shape.layers,
        edge_model_hidden=shape.hidden,
        edge_model_intermediate=shape.intermediate,
        gates_digest=None,
        prompt_tokens=0,
    )
    return Bundle(header, Lora(shape, factors))


def run(mode: str, swaps: int = SWAPS, model: str = DEFAULT_PAIR.edge_model, seconds: float = ALONE_SECONDS) -> Figures:
    """Measure.

    Args:
        mode: `attached` or `merged`.
        swaps: Changes of what serves.
        model: Base GGUF, as in `LORAGEN_EDGE_BASE_MODEL`.
        seconds: How long the clients ask with nothing being changed.

    Raises:
        BenchmarkError: A bundle does not come to serve.
        ClientError: The device does not start.
    """
    changes = {"SERVING_MODE": mode, "POLL_INTERVAL_SECONDS": "0.2"}
    with following_device(model, changes) as (cloud, device):
        first = cloud.publish(_NAME)
        device.wait_until_serving(_NAME, first, merged=mode == "merged", timeout_seconds=_LATE_SECONDS)
        return asyncio.run(_measure(cloud, device, mode, swaps, seconds))


@contextmanager
def following_device(model: str, changes: Mapping[str, str]) -> Iterator[tuple[SmallCloud, DeviceClient]]:
    """A device process, and the cloud that it follows.

    Args:
        model: As in `run`.
        changes: Further settings, without their prefix.
    """
    with BaseGguf(find_base_gguf(Path(model))) as base_gguf:
        cloud = SmallCloud(base_gguf.digest or model_digest(base_gguf.path), base_gguf.shape)
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder, _serving(cloud) as url:
        settings = {
            "BASE_MODEL": model,
            "DATA_DIR": f"{folder}/edge",
            "CLOUD_URL": url,
            "ALLOW_UNSIGNED": "true",
            "PORT": str(port),
            "LOG_LEVEL": "warning",
            **changes,
        }
        environment = {f"LORAGEN_EDGE_{name}": value for name, value in settings.items()}
        with (
            ServiceProcess("device", ["-m", "edge_runtime"], environment, Path(folder) / "log") as process,
            DeviceClient(f"http://127.0.0.1:{port}") as device,
        ):
            process.wait_until_ready(device)
            yield cloud, device


@contextmanager
def _serving(cloud: SmallCloud) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = cloud.find(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def _measure(cloud: SmallCloud, device: DeviceClient, mode: str, swaps: int, seconds: float) -> Figures:
    load, done, port = Load(), asyncio.Event(), device.url.port
    assert port is not None
    clients = [asyncio.create_task(_ask(load, cloud, port, number, done)) for number in range(CLIENTS)]
    took: list[float] = []
    try:
        await asyncio.sleep(_WARM_SECONDS)
        alone = time.perf_counter()
        await asyncio.sleep(seconds)
        swapping = time.perf_counter()
        for _ in range(swaps // (2 if mode == "merged" else 1)):
            published = time.perf_counter()
            bundle_id = cloud.publish(_NAME)
            await asyncio.to_thread(
                device.wait_until_serving, _NAME, bundle_id, merged=mode == "merged", timeout_seconds=_LATE_SECONDS
            )
            took.append(time.perf_counter() - published)
        ended = time.perf_counter()
    finally:
        done.set()
        await asyncio.gather(*clients)
    command = f"{_COMMAND} --mode {mode} --swaps {swaps}"
    before, during = 1_000 * load.p99(alone, swapping), 1_000 * load.p99(swapping, ended)
    for failure in load.failures[:3]:
        print(failure)
    return {
        f"swap_failed_requests_{mode}": Figure.of(len(load.failures), "requests", command, target=0),
        f"swap_requests_{mode}": Figure.of(len(load.answers), "requests", command),
        f"swap_p99_{mode}": Figure.of(during, "ms", command, baseline=before, target=MOST_P99 * before),
        f"swap_seconds_{mode}": Figure.of(statistics.median(took), "s", command),
    }


async def _ask(load: Load, cloud: SmallCloud, port: int, number: int, done: asyncio.Event) -> None:
    body = json.dumps(
        {"model": _NAME, "prompt": f"Client {number} says", "max_tokens": ANSWER_TOKENS, "temperature": 0}
    ).encode()
    lines = ("POST /v1/completions HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}"))
    connection = await Connection.open("127.0.0.1", port)
    try:
        while not done.is_set():
            began = time.perf_counter()
            reply = await connection.send(f"{head}\r\n\r\n".encode() + body)
            load.answers.append((began, time.perf_counter() - began))
            _, _, bundle_id = str(json.loads(reply.body).get("system_fingerprint")).partition("-")
            if reply.status != 200 or bundle_id not in cloud.ids:
                load.failures.append(f"{reply.status}: {reply.body[:300]!r}")
    finally:
        connection.close()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=SWAPS)
    parser.add_argument("--mode", choices=("attached", "merged"), default="attached")
    parser.add_argument("--model", default=DEFAULT_PAIR.edge_model, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=ALONE_SECONDS, help="without changes, beforehand")
    options = parser.parse_args(argv)
    print_figures(run(options.mode, options.swaps, options.model, options.seconds))


if __name__ == "__main__":
    main()
