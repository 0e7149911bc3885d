"""Whether a tenant learns from the time of an answer that another has asked for the same.

Two tenants of one service: one of them has asked for half of the tasks, and fetched their bundles. The other then asks
for all of them, in an order drawn by chance, and fetches each bundle. What it may tell apart is measured by how long
both take, over one connection each time, with nothing else at work: medians, and a rank test of the two halves
(Mann-Whitney). Behind its fetch, while the service stores the bundle, it asks on and on for something else that is in
the store, and takes the longest of these answers.

- `generate_known_of_new`, `bundle_known_of_new`, `behind_known_of_new`: the median of what the other tenant had, in
  that of what nobody had.
- `generate_p`, `bundle_p`, `behind_p`: how often halves that do not differ look at least so different; small where they
  differ.
- `behind_longest`: the median of the longest answers, that of answers with nothing to be stored beside it.
- `said_cached`: answers that said `cached`, of those that the other tenant had.

    python -m benchmarks.tenant_timing [--pair DIR] [--tasks 60]
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import mannwhitneyu

from benchmarks.cloud_speed import Server, cloud_server, make_bodies
from benchmarks.figures import FACTOR, Figure, Figures, print_figures
from benchmarks.http_load import Connection, verify_status
from loragen import LocalStack
from loragen.client import ModelPair
from loragen.default_pair import DEFAULT_PAIR

TASKS = 60
BEHIND_SECONDS = 0.4
"""How long a tenant goes on behind its fetch: a bundle is stored within a tenth of a second of the last work."""


class Tenant:
    """One who asks, each time over a new connection: one that waits for the other tenant would be closed meanwhile."""

    def __init__(self, server: Server, key: str) -> None:
        self._server, self._key = server, key

    async def ask(self, body: bytes) -> tuple[float, float, float, bool]:
        """Generate, then fetch the bundle, then ask on.

        Returns:
            The seconds of both, the longest of what was asked behind them, and whether the answer says `cached`.

        Raises:
            BenchmarkError: One of the two was refused.
        """
        connection = await self._server.connect()
        began = time.perf_counter()
        reply = await self.send(connection, "POST", "/generate-lora", body)
        answered = time.perf_counter()
        answer = json.loads(reply)
        await self.send(connection, "GET", answer["links"]["bundle"])
        fetched = time.perf_counter()
        longest = await self.longest(connection, answer["links"]["recipe"])
        connection.close()
        return answered - began, fetched - answered, longest, bool(answer["cached"])

    async def longest(self, connection: Connection, target: str) -> float:
        """The seconds of the longest answer, of those that come one after the other for a while."""
        began, longest = time.perf_counter(), 0.0
        while (before := time.perf_counter()) < began + BEHIND_SECONDS:
            await self.send(connection, "GET", target)
            longest = max(longest, time.perf_counter() - before)
        return longest

    async def send(self, connection: Connection, method: str, target: str, body: bytes = b"") -> bytes:
        """The body of an answer.

        Raises:
            BenchmarkError: The request was refused.
        """
        request = self._server.request(method, target, body, authorization=f"Bearer {self._key}")
        reply = await connection.send(request)
        verify_status(reply, 200)
        return reply.body


async def measure(server: Server, keys: Sequence[str], tasks: int, command: str) -> Figures:
    """Ask as two tenants.

    Args:
        server: A service that has answered none of the tasks.
        keys: Of two tenants.
        tasks: How many; half of them are known to the first tenant.
        command: Makes the figures again.

    Raises:
        BenchmarkError: Something was refused.
    """
    first, second = [Tenant(server, key) for key in keys]
    bodies = [json.dumps(body).encode() for body in make_bodies(tasks + 8)]
    for warming in bodies[tasks:]:
        await second.ask(warming)
    known = set(random.Random(0).sample(range(tasks), tasks // 2))
    for number in sorted(known):
        await first.ask(bodies[number])
    order = random.Random(1).sample(range(tasks), tasks)
    taken = {number: await second.ask(bodies[number]) for number in order}
    quiet = await _quiet(server, second, bodies[order[0]])
    longest = statistics.median(taken[number][2] for number in order) * 1_000
    figures: dict[str, Figure] = {"behind_longest": Figure.of(longest, "ms", command, baseline=quiet * 1_000)}
    for place, name in enumerate(("generate", "bundle", "behind")):
        old, new = ([taken[number][place] for number in order if (number in known) is had] for had in (True, False))
        ratio = statistics.median(old) / statistics.median(new)
        figures[f"{name}_known_of_new"] = Figure.of(ratio, FACTOR, command)
        figures[f"{name}_p"] = Figure.of(float(mannwhitneyu(old, new).pvalue), "of 1", command)
    said = sum(taken[number][3] for number in known)
    figures["said_cached"] = Figure.of(said, "answers", command, baseline=len(known), target=0.0)
    return figures


async def _quiet(server: Server, tenant: Tenant, body: bytes) -> float:
    """The median of the longest answers with nothing to be stored beside them, in seconds."""
    connection = await server.connect()
    target = json.loads(await tenant.send(connection, "POST", "/generate-lora", body))["links"]["recipe"]
    longest = [await tenant.longest(connection, target) for _ in range(9)]
    connection.close()
    return statistics.median(longest)


def run(pair: Path = DEFAULT_PAIR.folder, tasks: int = TASKS) -> Figures:
    """Measure with a model pair.

    Raises:
        BenchmarkError: Something was refused.
        ClientError: The service did not start.
    """
    command = f"python -m benchmarks.tenant_timing --tasks {tasks}"
    with tempfile.TemporaryDirectory(prefix="loragen-tenants-") as folder:
        state = Path(folder)
        keys = asyncio.run(make_keys(f"sqlite:///{state / 'cloud.sqlite'}"))
        with LocalStack(ModelPair.at(pair), state, device=False) as stack:
            return asyncio.run(measure(cloud_server(str(stack.cloud.url)), keys, tasks, command))


async def make_keys(url: str) -> list[str]:
    """Keys of two tenants, made before the service opens its store."""
    from cloud_service.access.audit import AuditLog
    from cloud_service.access.key_service import KeyRequest, KeyService
    from cloud_service.access.scopes import Scope
    from cloud_service.bootstrap import open_configured_store
    from cloud_service.config import CloudSettings

    store = open_configured_store(CloudSettings(store_url=url))
    try:
        service = KeyService(store.access, AuditLog(store.access))
        scopes = (Scope.GENERATE, Scope.READ)
        return [(await service.create(KeyRequest("timing", scopes, tenant, "")))[0] for tenant in ("first", "second")]
    finally:
        await store.aclose()


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=DEFAULT_PAIR.folder)
    parser.add_argument("--tasks", type=int, default=TASKS)
    arguments = parser.parse_args(argv)
    figures = run(arguments.pair, arguments.tasks)
    print_figures(figures)


if __name__ == "__main__":
    main()
