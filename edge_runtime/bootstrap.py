"""Puts a device together from its settings, and runs it. The only module that knows which adapters are real.

Order at the start: the HTTP server first, so that probes are answered while models load; then what served before the
restart; then the first poll. At the end: not ready, requests in flight finish or are cut off after
`shutdown_timeout_seconds`, then the models are closed.
"""

import asyncio
import contextlib
import random
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import h11
import httpx2
import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge_runtime.cloud.fetcher import HttpFetcher
from edge_runtime.cloud.poller import Poller
from edge_runtime.cloud.rpc import CloudLink, GrpcLink
from edge_runtime.config import EdgeSettings
from edge_runtime.daemon import Daemon
from edge_runtime.device import Device
from edge_runtime.errors import ConfigurationError
from edge_runtime.serving.api import create_app
from edge_runtime.serving.engine import EngineLoader
from edge_runtime.serving.llama import LlamaLoader
from edge_runtime.serving.slots import SlotTable
from edge_runtime.telemetry import Telemetry
from edge_runtime.updates.artifacts import Artifacts
from edge_runtime.updates.attempts import Attempts
from edge_runtime.updates.clock import Clock, SystemClock
from edge_runtime.updates.device_model import DeviceModel
from edge_runtime.updates.disk import DataDirectory
from edge_runtime.updates.installer import Installer
from edge_runtime.updates.lock import locked
from edge_runtime.updates.state import DeviceState, StateFile
from edge_runtime.updates.state_store import StateStore
from edge_runtime.updates.updater import Updater
from loragen.version import package_version

_log = structlog.get_logger(__name__)

_BACKLOG = 64
"""Connections that wait to be accepted, and that asyncio accepts in one go, before any of them can be refused."""

_REQUEST_SECONDS = 30.0
"""For a request to arrive, head and body: the longest body, 4 MiB, needs 140 kB/s."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A device put together."""

    app: FastAPI
    daemon: Daemon
    device: Device
    updater: Updater
    slots: SlotTable
    disk: DataDirectory
    telemetry: Telemetry


@asynccontextmanager
async def assemble(
    settings: EdgeSettings, loader: EngineLoader | None = None, clock: Clock | None = None
) -> AsyncIterator[Parts]:
    """The parts of the device that `settings` describe, closed when the block is left.

    Args:
        settings: What the device is told.
        loader: Instead of llama.cpp.
        clock: Instead of the machine's.

    Raises:
        ConfigurationError: The settings do not describe a device that can run.
    """
    clock = clock or SystemClock()
    telemetry = Telemetry()
    disk = DataDirectory(settings.data_dir)
    model = DeviceModel.open(settings.base_model, settings.quantization, disk.cache, settings.admit_base_digest)
    loader = loader or LlamaLoader(settings.context_tokens, settings.effective_threads, settings.gpu_layers)
    slots = SlotTable(loader, settings.max_resident, settings.max_queue)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(locked(disk.root))
        stack.push_async_callback(slots.close)
        client = await stack.enter_async_context(_http_client(settings))
        fetcher = HttpFetcher(client, settings.download_timeout_seconds, clock.unix)
        state_store = StateStore(
            StateFile(disk.state),
            DeviceState(model.digest, settings.channel),
            clock,
            settings.poll_interval_seconds,
            random.random,
        )
        poller = None
        if settings.cloud_url is not None:
            poller = Poller(settings.channel, fetcher, settings.poll_interval_seconds, clock, random.random, telemetry)
        updater = Updater(
            poller=poller,
            artifacts=Artifacts(disk, fetcher, settings.max_bank_bytes),
            installer=Installer(model, disk, slots, clock.unix),
            state_store=state_store,
            slots=slots,
            model=model,
            disk=disk,
            attempts=Attempts(settings.channel, clock, telemetry),
        )
        device = Device(settings.effective_device_id, model, slots, updater)
        link: CloudLink | None = None
        if settings.cloud_grpc:
            link = GrpcLink(settings.cloud_grpc, settings.channel, device.device_id)
            stack.push_async_callback(link.close)
        telemetry.gauge("queue_depth", "Requests waiting or running.", slots.queue_depth)
        telemetry.gauge("resident_slots", "Slots loaded.", slots.resident_count)
        telemetry.gauge("channel_version", "Newest version seen.", lambda: state_store.state.channel_version or 0)
        daemon = Daemon(updater, device, disk, clock, link)
        slots.on_broken = daemon.wake
        yield Parts(create_app(slots, device, telemetry), daemon, device, updater, slots, disk, telemetry)


async def serve(settings: EdgeSettings) -> None:
    """Run a device until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: It cannot start.
        EdgeError: Not even the base model can serve.
    """
    async with assemble(settings) as parts:
        server = _Server(
            uvicorn.Config(
                parts.app,
                host=settings.host,
                port=settings.port,
                # Of uvicorn's parsers the one that bounds a request's head (16 KiB), whatever else is installed.
                http=_BoundedH11,
                backlog=_BACKLOG,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=settings.shutdown_timeout_seconds,
            )
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _log.info(
            "starting",
            version=package_version(),
            device_id=parts.device.device_id,
            channel=settings.channel,
            # Without what may stand before the host: a name and a password.
            cloud=settings.cloud_url.host if settings.cloud_url else None,
            base_gguf=settings.base_model.name,
            quantization=settings.quantization,
            address=f"http://{settings.host}:{settings.port}",
        )
        serving = asyncio.create_task(server.run_until_told())
        following = asyncio.create_task(parts.daemon.run())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, following, stopped}, return_when=asyncio.FIRST_COMPLETED)
        _log.info("draining", timeout_seconds=settings.shutdown_timeout_seconds)
        parts.device.stopping = True
        parts.daemon.stop()
        server.should_exit = True
        stopped.cancel()
        # Either may have ended by itself, and then says why; the other is ended by now.
        results = await asyncio.gather(serving, following, return_exceptions=True)
        _log.info("stopped")
        for result in results:
            if isinstance(result, BaseException):
                raise result


class _BoundedH11(H11Protocol):
    """Hangs up on new connections once the open ones have half of the file descriptors, and on half-sent requests.

    The other half is for models, downloads and the state. uvicorn's own limit is looked at when a request has arrived,
    and it waits for one for ever: a client that vanished in the middle would keep its connection. However long an
    answer takes, its client is not hung up on: the time runs only while the client is to send.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and len(self.connections) > limit // 2:
            transport.abort()
        self._watch_request()

    def handle_events(self) -> None:
        super().handle_events()
        self._watch_request()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _watch_request(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(_REQUEST_SECONDS, self.transport.abort)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Server(uvicorn.Server):
    """uvicorn, told when to stop by this program and not by signals of its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_until_told(self) -> None:
        try:
            await self.serve()
        except SystemExit as error:
            # uvicorn exits the process when it cannot listen; its log has said why.
            raise ConfigurationError(
                f"cannot listen on {self.config.host}:{self.config.port}",
                "is LORAGEN_EDGE_PORT taken by another process?",
            ) from error


def _http_client(settings: EdgeSettings) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(
        # Without a cloud nothing ever asks; a client is there so that what uses it need not know.
        base_url=str(settings.cloud_url or "http://localhost"),
        timeout=settings.cloud_timeout_seconds,
        headers={"User-Agent": f"loragen-edge/{package_version()}"},
        follow_redirects=False,
    )
