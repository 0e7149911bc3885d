"""How much of what the framework and the model can do the cloud service gives, all side by side in one run.

The real service and a bare FastAPI application (`benchmarks.bare_service`) run as child processes on loopback, and are
asked in turns. The load generator is a light one, but where there is one core it takes its part of it, from both alike.

- `cached_of_bare`: `POST /generate-lora` that is answered from the store, 8 connections; requests a second, in those of
  a bare endpoint that answers with the same bytes.
- `poll_of_bare`, `poll_large_of_bare`: polls of a channel with 1 and with 1,024 entries that has not changed, in those
  of a bare endpoint that answers 304.
- The same with `_cpu`: by the processor time of the two processes, without the load generator's.
- `uncached_of_generator`: new descriptions, 8 clients, in what the generator's own code makes of the same descriptions
  in the same batches, in this process.
- `overload_p99_of_capacity`: at five times that rate for some seconds, p99 of accepted ones, in that of the 8 clients.
- `refusal_p99`: how soon the others are refused.
- `retry_succeeds`: of those, who come back after `Retry-After`, the share that is served then.

    python -m benchmarks.cloud_speed [--pair DIR] [--requests 48] [--seconds 1.5]
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.errors import BenchmarkError
from benchmarks.figures import FACTOR, Figure, Figures, print_figures
from benchmarks.http_load import Connection, LoadResult, Reply, repeat_for, request_bytes, send_all, send_at_rate
from loragen import LocalStack
from loragen.client import ModelPair
from loragen.client.process import ServiceProcess, free_ports
from loragen.collector import pass_over_loaded
from loragen.contract.channel import Channel, RecipeReference, Specialization, encode_channel
from loragen.contract.digest import sha256_hex
from loragen.contract.limits import MAX_SPECIALIZATIONS
from loragen.default_pair import DEFAULT_PAIR

CLIENTS = 8
REQUESTS = 48
SECONDS = 1.5
ROUNDS = 3
OVERLOAD = 5
OVERLOAD_SECONDS = 3.0
MOST_RETRY_SECONDS = 30.0
READY_SECONDS = 60.0

TARGET_OF_BARE = 0.6
TARGET_OF_GENERATOR = 0.8
TARGET_P99 = 2.0
TARGET_REFUSAL_MS = 50.0
TARGET_RETRY = 0.9

SMALL, LARGE = "speed-small", "speed-large"


class Server:
    """One of the two that are asked.

    Args:
        url: Its base URL.
        cpu: Where it says how much processor time it has taken: a path, and what stands before the number.
    """

    def __init__(self, url: str, cpu: tuple[str, str]) -> None:
        parsed = httpx2.URL(url)
        self.host, self.port = parsed.host, parsed.port or 80
        self._url, self._cpu = url.rstrip("/"), cpu

    async def connect(self) -> Connection:
        """A connection to it."""
        return await Connection.open(self.host, self.port)

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> bytes:
        """A request to it."""
        return request_bytes(method, target, f"{self.host}:{self.port}", body, **headers)

    async def cpu_seconds(self) -> float:
        """Processor time that it has taken."""
        async with httpx2.AsyncClient(trust_env=False) as client:
            text = (await client.get(self._url + self._cpu[0])).text
        match = re.search(rf"^{self._cpu[1]}([\d.e+-]+)$", text, re.MULTILINE)
        if match is None:
            raise BenchmarkError(f"{self._url} does not tell its processor time")
        return float(match[1])


def cloud_server(url: str) -> Server:
    """The cloud service as a server to ask."""
    return Server(url, ("/metrics", "process_cpu_seconds_total "))


def make_bodies(count: int, first: int = 0) -> list[Mapping[str, Any]]:
    """Bodies of `POST /generate-lora`, no two alike."""
    return [{"description": f"Rewrite the mail of customer {first + number} politely."} for number in range(count)]


def make_documents() -> dict[str, bytes]:
    """Channels with one entry and with as many as fit, by name."""
    return {name: _document(name, count) for name, count in ((SMALL, 1), (LARGE, MAX_SPECIALIZATIONS))}


def _document(channel: str, count: int) -> bytes:
    def entry(number: int) -> Specialization:
        digest = sha256_hex(str(number).encode())
        recipe = RecipeReference(digest, 1_000, "speed", digest, digest)
        return Specialization(f"task-{number:04}", digest, 1_000_000, "edge", digest, recipe)

    return encode_channel(Channel(channel, 1, tuple(entry(number) for number in range(count))))


async def measure_answers(
    cloud: Server, bare: Server, body: Mapping[str, Any], etags: Mapping[str, str], seconds: float, command: str
) -> Figures:
    """Cached answers and unchanged polls, against the bare endpoints.

    Args:
        cloud: The service, which has answered `body` and has the channels of `make_documents`.
        bare: The bare application.
        body: Of `POST /generate-lora`.
        etags: Of the channels, by name.
        seconds: Of each round.
        command: Makes the figures again.

    Raises:
        BenchmarkError: Something was answered with another status.
    """
    data = json.dumps(body).encode()
    asked = {
        "cached": (cloud, cloud.request("POST", "/generate-lora", data), 200),
        "bare_answer": (bare, bare.request("POST", "/generate-lora", data), 200),
        "poll": (cloud, cloud.request("GET", f"/channels/{SMALL}", if_none_match=etags[SMALL]), 304),
        "poll_large": (cloud, cloud.request("GET", f"/channels/{LARGE}", if_none_match=etags[LARGE]), 304),
        "bare_poll": (bare, bare.request("GET", "/channels/bare", if_none_match=etags[SMALL]), 304),
    }
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    connections = {server: [await server.connect() for _ in range(CLIENTS)] for server in (cloud, bare)}
    for number in range(ROUNDS + 1):
        for name, (server, request, status) in asked.items():
            used = await server.cpu_seconds()
            done = await repeat_for(connections[server], request, seconds if number else 0.3, status)
            used = await server.cpu_seconds() - used
            if number:  # the first round warms up
                rounds[name].append((done.per_second, len(done.latencies) / used))
    for each in (*connections[cloud], *connections[bare]):
        each.close()
    figures: dict[str, Figure] = {}
    for name, baseline in (("cached", "bare_answer"), ("poll", "bare_poll"), ("poll_large", "bare_poll")):
        for place, suffix in ((0, ""), (1, "_cpu")):
            ours, theirs = (statistics.median(each[place] for each in rounds[which]) for which in (name, baseline))
            figures[f"{name}_per_second{suffix}"] = Figure.of(ours, "requests/s", command, baseline=theirs)
            figures[f"{name}_of_bare{suffix}"] = Figure.of(ours / theirs, FACTOR, command, target=TARGET_OF_BARE)
    return figures


async def measure_uncached(cloud: Server, bodies: Sequence[Mapping[str, Any]]) -> LoadResult:
    """New descriptions by 8 clients."""
    connections = [await cloud.connect() for _ in range(CLIENTS)]
    requests = [cloud.request("POST", "/generate-lora", json.dumps(body).encode()) for body in bodies]
    done = await send_all(connections, requests, 200)
    for each in connections:
        each.close()
    return done


async def measure_overload(
    cloud: Server, bodies: Sequence[Mapping[str, Any]], per_second: float, capacity_p99: float, command: str
) -> Figures:
    """Send more than the service can do, and come back when it says so.

    Args:
        cloud: The service.
        bodies: New descriptions.
        per_second: The rate at which they are sent.
        capacity_p99: Seconds, of as many requests as the service can do.
        command: Makes the figures again.

    Raises:
        BenchmarkError: A request was neither accepted nor refused with `Retry-After`, or none was refused.
    """
    requests = [cloud.request("POST", "/generate-lora", json.dumps(body).encode()) for body in bodies]
    accepted: list[float] = []
    refused: list[float] = []
    retried: list[bool] = []

    async def answered(number: int, seconds: float, reply: Reply) -> None:
        if reply.status == 200:
            accepted.append(seconds)
            return
        after = reply.header("retry-after")
        if reply.status not in (429, 503) or after is None:
            raise BenchmarkError(f"expected 200, or 429 or 503 with Retry-After, found {reply.status}")
        refused.append(seconds)
        if float(after) > MOST_RETRY_SECONDS:
            return
        await asyncio.sleep(float(after))
        connection = await cloud.connect()
        retried.append((await connection.send(requests[number])).status == 200)
        connection.close()

    await send_at_rate(cloud.connect, requests, per_second, answered)
    if not refused or not retried:
        raise BenchmarkError(f"none of {len(requests)} requests at {per_second:.0f} a second was refused")
    ratio = percentile(accepted, 99) / capacity_p99
    return {
        "overload_accepted": Figure.of(len(accepted), "requests", command, baseline=len(requests)),
        "overload_p99": Figure.of(percentile(accepted, 99), "s", command, baseline=capacity_p99),
        "overload_p99_of_capacity": Figure.of(ratio, "of 1", command, target=TARGET_P99),
        "refusal_p99": Figure.of(percentile(refused, 99) * 1000, "ms", command, target=TARGET_REFUSAL_MS),
        "retry_succeeds": Figure.of(sum(retried) / len(retried), FACTOR, command, target=TARGET_RETRY),
    }


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def run(pair: Path = DEFAULT_PAIR.folder, requests: int = REQUESTS, seconds: float = SECONDS) -> Figures:
    """Measure all of it with a model pair.

    Args:
        pair: Directory of the model pair.
        requests: New descriptions of each of the rounds.
        seconds: Of each round against the bare application.

    Raises:
        BenchmarkError: Something was not answered as expected.
        ClientError: The service did not start, or did not answer.
    """
    command = f"python -m benchmarks.cloud_speed --requests {requests} --seconds {seconds:g}"
    with tempfile.TemporaryDirectory(prefix="loragen-speed-") as folder:
        state = Path(folder)
        asyncio.run(_store_channels(f"sqlite:///{state / 'cloud.sqlite'}"))
        with LocalStack(ModelPair.at(pair), state, device=False) as stack:
            return asyncio.run(_measure(stack, pair, state, requests, seconds, command))


async def _measure(stack: LocalStack, pair: Path, state: Path, requests: int, seconds: float, command: str) -> Figures:
    cloud = cloud_server(str(stack.cloud.url))
    body = {"description": "Say whether a review is positive or negative."}
    answer = await _ask(cloud, body)
    etags = {name: f'"{sha256_hex(document)}"' for name, document in make_documents().items()}
    async with _bare(state, answer) as bare:
        figures = dict(await measure_answers(cloud, bare, body, etags, seconds, command))
    figures["cores"] = Figure.of(len(os.sched_getaffinity(0)), "cores", command)

    generate = await asyncio.to_thread(_load_generator, pair)
    pass_over_loaded()  # or the load generator stops for 0.2 s now and then, and takes it for the service's time
    await measure_uncached(cloud, make_bodies(CLIENTS))
    await asyncio.to_thread(generate, make_bodies(CLIENTS))
    ours, theirs, latencies = [], [], []
    for number in range(ROUNDS):
        bodies = make_bodies(requests, 1_000 * (number + 1))
        theirs.append(requests / await asyncio.to_thread(generate, bodies))
        done = await measure_uncached(cloud, bodies)
        ours.append(done.per_second)
        latencies += done.latencies
    rate = statistics.median(ours)
    figures["uncached_per_second"] = Figure.of(rate, "requests/s", command, baseline=statistics.median(theirs))
    ratio = statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
    figures["uncached_of_generator"] = Figure.of(ratio, FACTOR, command, target=TARGET_OF_GENERATOR)

    bodies = make_bodies(round(OVERLOAD * rate * OVERLOAD_SECONDS), 100_000)
    capacity_p99 = percentile(latencies, 99)
    overload = await measure_overload(cloud, bodies, OVERLOAD * rate, capacity_p99, command)
    return {**figures, **overload}


async def _ask(cloud: Server, body: Mapping[str, Any]) -> bytes:
    """The answer to a request that the service has answered before."""
    connection, reply = await cloud.connect(), None
    for _ in range(2):
        reply = await connection.send(cloud.request("POST", "/generate-lora", json.dumps(body).encode()))
    connection.close()
    assert reply is not None
    return reply.body


@asynccontextmanager
async def _bare(state: Path, answer: bytes) -> AsyncIterator[Server]:
    prepared = state / "answer.json"
    prepared.write_bytes(answer)
    (port,) = free_ports(1)
    arguments = ["-m", "benchmarks.bare_service", str(port), str(prepared)]
    with ServiceProcess("the bare application", arguments, {}, state / "bare.log") as process:
        server = Server(f"http://127.0.0.1:{port}", ("/cpu", ""))
        deadline = time.monotonic() + READY_SECONDS
        while True:
            process.verify_alive()
            try:
                await server.cpu_seconds()
                break
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise BenchmarkError(f"the bare application does not answer; {process.log_end()}") from None
                await asyncio.sleep(0.1)
        yield server


async def _store_channels(url: str) -> None:
    """Write channels into a store that no service has open: to publish 1,024 entries one by one takes a minute."""
    from cloud_service.bootstrap import open_configured_store
    from cloud_service.config import CloudSettings
    from cloud_service.store import ChannelRow, StoredEvent

    store = open_configured_store(CloudSettings(store_url=url))
    for name, document in make_documents().items():
        await store.channels.write(name, ChannelRow(1, 1, document), StoredEvent("publish", "", 1))
    await store.aclose()


def _load_generator(pair: Path) -> Any:
    """A function from bodies to the seconds that the generator takes for them."""
    from cloud_service.generation import Asked
    from cloud_service.generator import load_generator
    from cloud_service.schemas import GenerateLoraBody

    models = ModelPair.at(pair)
    generator = load_generator(models.generator, models.cloud_model, models.edge_model)

    def generate(bodies: Sequence[Mapping[str, Any]]) -> float:
        asked = [Asked.of(GenerateLoraBody.model_validate(body).to_request().task) for body in bodies]
        started = time.perf_counter()
        for start in range(0, len(asked), CLIENTS):
            generator.generate(asked[start : start + CLIENTS])
        return time.perf_counter() - started

    return generate


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=DEFAULT_PAIR.folder)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args(argv)
    figures = run(arguments.pair, arguments.requests, arguments.seconds)
    print_figures(figures)


if __name__ == "__main__":
    main()
