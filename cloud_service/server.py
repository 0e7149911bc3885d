"""Serving: HTTP and gRPC in one process, from the first connection to the last.

Shutdown in order: not ready, but still serving, for as long as load balancers need to notice; then no new connections,
and requests in flight get their time; then what is left is cancelled, and the log says how much that was.
"""

import asyncio
import contextlib
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloud_service.channels import ChannelService
from cloud_service.config import CloudSettings
from cloud_service.errors import ConfigurationError
from cloud_service.grpc import GrpcServer
from cloud_service.service import LoraService

_log = structlog.get_logger(__name__)

_HEAD_SECONDS = 30.0
"""For a request's head, of at most 16 KiB, to arrive; Apache allows 20 to 40, nginx 60."""


class _BoundedH11(H11Protocol):
    """Hangs up on who is silent where a request is due, and on whoever comes once half of the descriptors are taken.

    The other half is for gRPC, the store and the generator. A body's time is bounded by `BodyGate`, that of an idle
    connection by uvicorn; an answer takes as long as it takes.
    """

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit != resource.RLIM_INFINITY and len(self.connections) > limit // 2:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def handle_events(self) -> None:
        super().handle_events()
        # uvicorn types as always there what is None until the first request.
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._stop_waiting()

    def on_response_complete(self) -> None:
        # First, because uvicorn goes on with the next request here when that has arrived already.
        self._await_head()
        super().on_response_complete()

    def _await_head(self) -> None:
        self._stop_waiting()
        # Closing sends what a slow client has not yet read of the answer before; aborting would not.
        self._head_timer = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()


class _HttpServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals mean the whole process, not this half of it.
        yield


async def serve(
    settings: CloudSettings,
    app: FastAPI,
    grpc_server: GrpcServer,
    service: LoraService,
    channels: ChannelService,
    stop: asyncio.Event,
    listening: Callable[[int, int], None] | None = None,
) -> None:
    """Serve until `stop` is set, then drain.

    Args:
        settings: Addresses and times.
        app: The HTTP application.
        grpc_server: The gRPC server.
        service: What both call; closed at the end.
        channels: Its watches end when draining begins.
        stop: Set it to shut down.
        listening: Called with the HTTP and the gRPC port once both listen.

    Raises:
        ConfigurationError: An address cannot be listened on.
    """
    with listen(settings.host, settings.port) as listener:
        grpc_port = await grpc_server.start(settings.host, settings.grpc_port)
        http = _HttpServer(
            uvicorn.Config(
                app,
                lifespan="off",
                # Of uvicorn's parsers the one that bounds a request's head (16 KiB), whatever else is installed.
                http=_BoundedH11,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=settings.shutdown_timeout_seconds,
            )
        )
        serving = asyncio.create_task(http.serve(sockets=[listener]))
        stopping = asyncio.create_task(stop.wait())
        http_port: int = listener.getsockname()[1]
        _log.info("serving", host=settings.host, http_port=http_port, grpc_port=grpc_port)
        if listening is not None:
            listening(http_port, grpc_port)
        try:
            # A server that ends by itself ends the process: half a service would look alive.
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await _drain(settings, http, serving, grpc_server, service, channels)


async def _drain(
    settings: CloudSettings,
    http: uvicorn.Server,
    serving: asyncio.Task[None],
    grpc_server: GrpcServer,
    service: LoraService,
    channels: ChannelService,
) -> None:
    started = time.monotonic()
    _log.info("draining", delay_seconds=settings.drain_delay_seconds)
    service.drain()
    await grpc_server.drain()
    await asyncio.sleep(settings.drain_delay_seconds)
    channels.drain()
    http.should_exit = True
    timeout = settings.shutdown_timeout_seconds
    await asyncio.gather(serving, grpc_server.stop(timeout))
    cut_off = await service.close(timeout_seconds=1)
    _log.info("stopped", seconds=round(time.monotonic() - started, 2), generations_cut_off=cut_off)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set; a second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def listen(host: str, port: int) -> socket.socket:
    """A TCP socket that listens; port 0 lets the system choose.

    Raises:
        ConfigurationError: The address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it small answers wait 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        return listener
    except OSError as e:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {e.strerror}", "set LORAGEN_CLOUD_PORT to a free port"
        ) from e
