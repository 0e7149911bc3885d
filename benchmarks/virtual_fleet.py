"""Virtual devices on loopback: they poll one service's channel over shared connections, and report over gRPC.

A virtual device is a name, labels, and the entity tag and version that it has. Devices share connections, because one
machine has not enough ports for 20,000, and fetch no bundles.
"""

import asyncio
import time
from dataclasses import dataclass

import grpc
import httpx2

from benchmarks.errors import BenchmarkError, HungUpError
from benchmarks.http_load import Connection, request_bytes, verify_status
from loragen import CloudClient
from loragen.contract.channel import parse_channel
from loragen.contract.polling import PollingDevice, poll_headers
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as pb_grpc

CONNECTIONS = 64
REPORTS_AT_ONCE = 16
"""Over one gRPC connection, which the service gives 64 streams; every real device has a connection of its own."""
CHANNEL = "fleet"
SHARE = 0.99
FAILING_EACH = 50
"""One of so many devices cannot put the rollout's bundle to use: 2 %."""


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
