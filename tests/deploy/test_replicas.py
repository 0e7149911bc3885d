"""Two replicas and a Redis, each a process of its own, under load: no request that was accepted is lost."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path

import httpx2
import pytest

from tests.cloud_service.store_backends import RedisBackend

SCRIPT = Path(__file__).parents[1] / "cloud_service" / "serve_fake.py"
REQUESTS = 48


class Replica:
    """A process of the cloud service with a generator that takes half a second."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self._log = log

    async def stop(self, by: signal.Signals) -> int:
        """Its exit code after this signal."""
        if self.process.returncode is None:
            self.process.send_signal(by)
        return await self.process.wait()

    def records(self) -> list[dict[str, object]]:
        """What it has logged; killed, it may have written half a line."""
        found = []
        for line in self._log.read_text().splitlines():
            with suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return found


class Replicas:
    """Processes that share a store, and a client that goes from one to the next, as behind a service of a cluster."""

    def __init__(self, directory: Path, store_url: str) -> None:
        self._directory = directory
        self._store_url = store_url
        self._turn = count()
        self._number = count()
        self._progress = asyncio.Event()
        self.all: list[Replica] = []
        self.live: list[Replica] = []
        self.answers: dict[str, str] = {}

    async def start(self) -> Replica:
        directory = self._directory / f"replica-{next(self._number)}"
        directory.mkdir()
        log = directory / "log"
        with log.open("w") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, SCRIPT, directory, self._store_url, stdout=asyncio.subprocess.PIPE, stderr=stderr
            )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
        replica = Replica(process, f"http://127.0.0.1:{port}", log)
        self.all.append(replica)
        self.live.append(replica)
        return replica

    async def kill(self) -> None:
        for replica in self.all:
            await replica.stop(signal.SIGKILL)

    async def load(self, clients: int = 12) -> None:
        """Have all requests answered, each by whichever replica does; `answers` fills on the way."""
        names = iter([f"task-{number}" for number in range(REQUESTS)])

        async def work() -> None:
            async with httpx2.AsyncClient(timeout=60) as http:
                for name in names:
                    self.answers[name] = await self._ask(http, name)
                    self._progress.set()

        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(work())

    async def _ask(self, http: httpx2.AsyncClient, name: str) -> str:
        body = {"description": f"Do {name}.", "publish": {"channel": "fleet", "name": name}}
        while True:
            replica = self.live[next(self._turn) % len(self.live)]
            with suppress(httpx2.TransportError):
                answer = await http.post(f"{replica.url}/generate-lora", json=body)
                if answer.status_code == 200:
                    return str(answer.json()["id"])
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining"), answer.text
            await asyncio.sleep(0.02)

    async def answered(self, number: int) -> None:
        """Return when this many requests are."""
        async with asyncio.timeout(60):
            while len(self.answers) < number:
                self._progress.clear()
                await self._progress.wait()

    async def verify_nothing_is_lost(self) -> None:
        """Every replica that lives shows what any of them acknowledged."""
        assert len(self.answers) == REQUESTS
        for replica in self.live:
            async with httpx2.AsyncClient(base_url=replica.url, timeout=60) as http:
                channel = (await http.get("/channels/fleet")).json()
                assert {entry["name"]: entry["bundle_id"] for entry in channel["specializations"]} == self.answers
                for bundle_id in self.answers.values():
                    assert (await http.head(f"/bundles/{bundle_id}")).status_code == 200


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncIterator[Replicas]:
    backend = RedisBackend(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(backend.stop)
        await backend.open()
        made = Replicas(tmp_path, backend.url)
        stack.push_async_callback(made.kill)
        await asyncio.gather(made.start(), made.start())
        yield made


@pytest.mark.slow
async def test_replica_that_is_killed_takes_no_acknowledged_request_with_it(replicas: Replicas) -> None:
    load = asyncio.create_task(replicas.load())
    await replicas.answered(REQUESTS // 4)
    killed = replicas.live.pop(0)
    await killed.stop(signal.SIGKILL)
    await replicas.start()
    await load
    await replicas.verify_nothing_is_lost()


@pytest.mark.slow
async def test_roll_of_all_replicas_cuts_no_request_off(replicas: Replicas) -> None:
    """Each is told to stop when its successor serves. What it has accepted by then it answers before it ends."""
    load = asyncio.create_task(replicas.load())
    before = list(replicas.live)
    for number, old in enumerate(before, start=1):
        await replicas.answered(number * REQUESTS // 4)
        await replicas.start()
        stopping = asyncio.create_task(old.stop(signal.SIGTERM))
        replicas.live.remove(old)
        assert await stopping == 0
    await load
    await replicas.verify_nothing_is_lost()
    for old in before:
        records = old.records()
        (stopped,) = [record for record in records if record["event"] == "stopped"]
        assert stopped["generations_cut_off"] == 0
        asked = [record for record in records if record.get("route") == "/generate-lora"]
        assert asked
        assert {record["status"] for record in asked} == {200}
