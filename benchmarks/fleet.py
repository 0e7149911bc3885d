"""How a fleet weighs on one cloud process: virtual devices on loopback poll, report, follow a publish and a rollout.

The real service runs as a child process with a fresh embedded store. A virtual device is a name, labels, and the entity
tag and version that it has; devices share 64 connections, because one machine has not enough ports for 20,000. They
fetch channel documents and no bundles, which are immutable and which any HTTP cache serves.

- `fleet_polls_per_core_second`: polls that find nothing new, as fast as they go, by the service's own processor time.
- `fleet_bytes_per_poll`: of such a poll, both ways, with HTTP's heads.
- `fleet_reports_per_core_second`: reports of devices over gRPC, as fast as they go, by the service's processor time.
- `fleet_update_seconds`: from a publish until 99 % of the devices have it, each polling at the interval. Its baseline
  is 99 % of the interval, which nothing that waits for polls can beat.
- `fleet_halt_seconds`: from the start of a rollout to all devices, of which 2 % cannot put it to use, until it halts by
  itself at 1 %; `fleet_halt_devices` is how many devices had it then, and its baseline is the whole fleet.
- `fleet_back_seconds`: from there until 99 % of the devices have the old content again.

    python -m benchmarks.fleet [--devices 2000] [--interval 10] [--seconds 240]

Each figure is written to standard error as soon as it is there, and what there is when the time is over, to standard
output.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2

from benchmarks.errors import BenchmarkError, HungUpError
from benchmarks.figures import Figure, Figures, print_figures
from benchmarks.http_load import Connection, request_bytes, verify_status
from loragen import CloudClient, LocalStack
from loragen.client import ModelPair
from loragen.client.process import free_ports
from loragen.contract.channel import parse_channel
from loragen.contract.polling import PollingDevice, poll_headers
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as pb_grpc
from loragen.default_pair import DEFAULT_PAIR

DEVICES = 2_000
MAX_DEVICES = 20_000
INTERVAL_SECONDS = 10.0
MOST_SECONDS = 240.0
CONNECTIONS = 64
REPORTS_AT_ONCE = 16
"""Over one gRPC connection, which the service gives 64 streams; every real device has a connection of its own."""
ENTRIES = 8
CHANNEL = "fleet"
SHARE = 0.99
FAILING_EACH = 50
"""One of so many devices cannot put the rollout's bundle to use: 2 %."""
HALT_PERCENT = 1.0
HALT_MIN_DEVICES = 100


@dataclass(slots=True)
class VirtualDevice:
    """What a device remembers between two polls."""

    number: int
    etag: str = ""
    version: int = 0
    bundle_id: str = ""

    @property
    def name(self) -> str:
        """Its name towards the cloud."""
        return f"virtual-{self.number:05}"


class PollingConnection:
    """A connection over which devices poll one after another.

    Attributes:
        bytes_moved: Sent and received.
    """

    def __init__(self, url: httpx2.URL, connection: Connection, known: dict[str, tuple[int, str]]) -> None:
        self._url, self._connection = url, connection
        self._known = known
        self.bytes_moved = 0

    @classmethod
    async def open(cls, url: httpx2.URL, known: dict[str, tuple[int, str]]) -> "PollingConnection":
        """Connect to the service.

        Args:
            url: Of the service.
            known: By entity tag, the version of a document and its first bundle. Devices share it: each has a
                processor of its own to read documents with, and the virtual ones would take the service's.
        """
        return cls(url, await Connection.open(url.host, url.port or 80), known)

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    async def poll(self, device: VirtualDevice) -> bool:
        """Poll for a device, as `edge_runtime` does; whether it has another version now.

        Raises:
            BenchmarkError: The answer is neither 200 nor 304.
        """
        headers = poll_headers(PollingDevice(device.name, {"ring": f"r{device.number % 4}"}, device.version))
        headers |= {"accept-encoding": "identity"}
        if device.etag:
            headers["if-none-match"] = device.etag
        request = request_bytes("GET", f"/channels/{CHANNEL}", self._url.netloc.decode("ascii"), b"", **headers)
        try:
            reply = await self._connection.send(request)
        except HungUpError:  # the service ends a connection that was silent for some seconds
            self._connection = await Connection.open(self._url.host, self._url.port or 80)
            reply = await self._connection.send(request)
        self.bytes_moved += len(request) + reply.size
        if reply.status == 304:
            return False
        verify_status(reply, 200)
        etag = reply.header("etag") or ""
        if etag not in self._known:
            channel = parse_channel(reply.body)
            bundle_id = next(each.bundle_id for each in channel.specializations if each.name == "task-0")
            self._known[etag] = channel.version, bundle_id
        version, bundle_id = self._known[etag]
        if version < device.version:
            raise BenchmarkError(f"{device.name} has version {device.version} and was sent version {version}")
        device.etag, device.version, device.bundle_id = etag, version, bundle_id
        return True


class VirtualFleet:
    """Virtual devices, and how they reach the service.

    Args:
        cloud: A client of the service.
        grpc_port: Where they report.
        devices: How many.
        interval_seconds: Between two polls of a device.
    """

    def __init__(self, cloud: CloudClient, grpc_port: int, devices: int, interval_seconds: float) -> None:
        self._cloud = cloud
        self._grpc_port = grpc_port
        self.interval_seconds = interval_seconds
        self.devices = [VirtualDevice(number) for number in range(devices)]
        self._connections: list[PollingConnection] = []
        self._reporting = asyncio.Semaphore(REPORTS_AT_ONCE)

    async def connect(self) -> None:
        """Open the connections."""
        url = httpx2.URL(str(self._cloud.url))
        known: dict[str, tuple[int, str]] = {}
        self._connections = [await PollingConnection.open(url, known) for _ in range(CONNECTIONS)]
        self._grpc = grpc.aio.insecure_channel(f"127.0.0.1:{self._grpc_port}")
        self._stub = pb_grpc.ChannelsStub(self._grpc)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close them."""
        for connection in self._connections:
            connection.close()
        await self._grpc.close()

    async def poll_all(self) -> int:
        """Let every device poll once, as fast as it goes; how many bytes that moved."""
        before = sum(connection.bytes_moved for connection in self._connections)
        waiting = iter(self.devices)

        async def work(connection: PollingConnection) -> None:
            for device in waiting:
                await connection.poll(device)

        await asyncio.gather(*(work(connection) for connection in self._connections))
        return sum(connection.bytes_moved for connection in self._connections) - before

    async def report_all(self) -> None:
        """Let every device report once, as fast as it goes."""
        waiting = iter(self.devices)

        async def work() -> None:
            for device in waiting:
                await self._report(device, fails=False)

        await asyncio.gather(*(work() for _ in range(REPORTS_AT_ONCE)))

    async def follow(self, failing_bundle: str = "") -> None:
        """Let every device poll at its interval and report what it has, until cancelled.

        Args:
            failing_bundle: What one of `FAILING_EACH` devices cannot put to use.
        """
        queue: asyncio.PriorityQueue[tuple[float, int]] = asyncio.PriorityQueue()
        started = time.monotonic()
        for device in self.devices:
            queue.put_nowait((started + device.number * self.interval_seconds / len(self.devices), device.number))

        async def work(connection: PollingConnection) -> None:
            while True:
                due, number = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                device = self.devices[number]
                if await connection.poll(device):
                    fails = device.bundle_id == failing_bundle and number % FAILING_EACH == 0
                    await self._report(device, fails=fails)
                # As a device does, from when it was answered: one that is late does not poll more often for it.
                queue.put_nowait((time.monotonic() + self.interval_seconds, number))

        async with asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(work(connection))

    async def _report(self, device: VirtualDevice, *, fails: bool) -> None:
        async with self._reporting:
            await self._stub.ReportStatus(_report(device, fails))

    def having(self, version: int) -> int:
        """How many devices have a version or a newer one."""
        return sum(device.version >= version for device in self.devices)

    async def wait_for(self, version: int) -> float:
        """Wait until 99 % of the devices have a version; how many seconds that took."""
        started = time.monotonic()
        while True:
            if self.having(version) >= SHARE * len(self.devices):
                return time.monotonic() - started
            await asyncio.sleep(0.02)


def _report(device: VirtualDevice, fails: bool) -> pb.DeviceReport:
    running = pb.RunningSpecialization(
        name="task-0",
        bundle_id=device.bundle_id,
        state=pb.SPECIALIZATION_STATE_FAILED if fails else pb.SPECIALIZATION_STATE_ADAPTER,
    )
    return pb.DeviceReport(
        device_id=device.name, channel=CHANNEL, channel_version=device.version, specializations=[running]
    )


def run(
    pair: Path = DEFAULT_PAIR.folder,
    devices: int = DEVICES,
    interval_seconds: float = INTERVAL_SECONDS,
    most_seconds: float = MOST_SECONDS,
    note: Callable[[str, Figure], None] = lambda name, figure: None,
) -> Figures:
    """Measure.

    Args:
        pair: Directory of the model pair that the service loads.
        devices: At most 20,000.
        interval_seconds: Between two polls of a device.
        most_seconds: For everything after the start of the service.
        note: Called with each figure as soon as it is there.

    Raises:
        BenchmarkError: A device was answered wrongly, or the time is over.
        ClientError: The service did not start, or did not answer.
    """
    if not 1 <= devices <= MAX_DEVICES:
        raise BenchmarkError(f"expected 1 to {MAX_DEVICES} devices, found {devices}")
    command = f"python -m benchmarks.fleet --devices {devices} --interval {interval_seconds:g}"
    (grpc_port,) = free_ports(1)
    settings = {"LORAGEN_CLOUD_GRPC_PORT": str(grpc_port)}
    with LocalStack(ModelPair.at(pair), device=False, cloud_settings=settings) as stack:
        tasks = [f"Sort each message into group {number}." for number in range(ENTRIES + 2)]
        bundles = [stack.cloud.generate_bundle(task).id for task in tasks]
        for number in range(ENTRIES):
            stack.cloud.publish(CHANNEL, f"task-{number}", bundles[number])
        fleet = VirtualFleet(stack.cloud, grpc_port, devices, interval_seconds)
        try:
            return asyncio.run(measure(fleet, stack.cloud, bundles[ENTRIES:], command, most_seconds, note))
        except TimeoutError as error:
            raise BenchmarkError(f"not done within {most_seconds:g} s") from error
        except grpc.aio.AioRpcError as error:
            raise BenchmarkError(f"a report was refused: {error.details()}") from error


async def measure(
    fleet: VirtualFleet,
    cloud: CloudClient,
    bundles: Sequence[str],
    command: str,
    most_seconds: float,
    note: Callable[[str, Figure], None] = lambda name, figure: None,
) -> Figures:
    """Measure with a fleet whose channel has one version.

    Args:
        fleet: Not connected yet.
        cloud: A client of its service.
        bundles: Two, which the channel does not have.
        command: Makes the figures again.
        most_seconds: For all of it.
        note: Called with each figure as soon as it is there.

    Raises:
        BenchmarkError: A device was answered wrongly.
        TimeoutError: The time is over.
    """
    count = len(fleet.devices)
    baseline = SHARE * fleet.interval_seconds
    figures: dict[str, Figure] = {}

    def found(name: str, value: float, unit: str, baseline: float | None = None) -> None:
        figures[name] = Figure.of(value, unit, command, baseline=baseline)
        note(name, figures[name])

    async with asyncio.timeout(most_seconds):
        await fleet.connect()
        await fleet.poll_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud)
        moved = await fleet.poll_all() + await fleet.poll_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud) - used
        found("fleet_polls_per_core_second", 2 * count / used, "polls/s")
        found("fleet_bytes_per_poll", moved / 2 / count, "bytes")
        used = await asyncio.to_thread(_cpu_seconds, cloud)
        await fleet.report_all()
        used = await asyncio.to_thread(_cpu_seconds, cloud) - used
        found("fleet_reports_per_core_second", count / used, "reports/s")
        following = asyncio.create_task(fleet.follow(bundles[1]))
        published = await asyncio.to_thread(cloud.publish, CHANNEL, "task-0", bundles[0])
        seconds = await _while_running(following, fleet.wait_for(published.version))
        found("fleet_update_seconds", seconds, "s", baseline)

        started = time.monotonic()
        rollout = await asyncio.to_thread(
            lambda: cloud.start_rollout(
                CHANNEL,
                "task-0",
                bundles[1],
                halt_failing_percent=HALT_PERCENT,
                halt_min_devices=min(HALT_MIN_DEVICES, count // 4 or 1),
            )
        )
        await _while_running(following, _wait_until_halted(cloud, rollout.version))
        reached = fleet.having(rollout.version)
        found("fleet_halt_seconds", time.monotonic() - started, "s")
        found("fleet_halt_devices", reached, "devices", count)
        seconds = await _while_running(following, fleet.wait_for(rollout.version + 1))
        found("fleet_back_seconds", seconds, "s", baseline)
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await fleet.close()
    return figures


async def _while_running(following: "asyncio.Task[None]", work: Any) -> Any:
    """The outcome of some work, unless the fleet fails before."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({following, task}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
        await following
    return await task


async def _wait_until_halted(cloud: CloudClient, version: int) -> None:
    # The channel's version tells it, without the devices being counted for each look, as for the rollout's progress.
    while True:
        if (await asyncio.to_thread(cloud.channel, CHANNEL)).version > version:
            break
        await asyncio.sleep(0.2)
    (rollout,) = await asyncio.to_thread(cloud.rollouts, CHANNEL)
    if rollout.state != "halted":
        raise BenchmarkError(f"expected the rollout to halt, it is {rollout.state}")


def _cpu_seconds(cloud: CloudClient) -> float:
    text = httpx2.get(f"{str(cloud.url).rstrip('/')}/metrics", trust_env=False).text
    match = re.search(r"^process_cpu_seconds_total ([\d.e+]+)$", text, re.MULTILINE)
    if match is None:
        raise BenchmarkError("the service does not tell its processor time")
    return float(match[1])


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures as JSON, also those of a run that was not done in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=DEFAULT_PAIR.folder)
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--interval", type=float, default=INTERVAL_SECONDS)
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS)
    arguments = parser.parse_args(argv)
    figures: dict[str, Figure] = {}

    def note(name: str, figure: Figure) -> None:
        figures[name] = figure
        sys.stderr.write(f"{name} {figure.value:g} {figure.unit}\n")

    try:
        run(arguments.pair, arguments.devices, arguments.interval, arguments.seconds, note)
    finally:
        print_figures(figures)


if __name__ == "__main__":
    main()
