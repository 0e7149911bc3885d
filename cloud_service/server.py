"""Serving: HTTP and gRPC in one process, from the first connection to the last.

The order of a shutdown: first the service is not ready but still serves, for as long as load balancers need to notice.
Then it takes no new connections, and requests in flight get their time. Then the remaining ones get an error and are
cancelled; the log says how many.
"""

import asyncio
import time
from collections.abc import Callable

import structlog
from fastapi import FastAPI

from cloud_service.config import CloudSettings
from cloud_service.fleet.channels import ChannelService
from cloud_service.grpc import GrpcServer
from cloud_service.service import LoraService
from loragen.web.server import HttpServer, listen
from loragen.web.tls import ServerTls

_log = structlog.get_logger(__name__)

_LAST_SECONDS = 0.5
"""The last part of the time for requests in flight, in which the remaining ones get an error as their answer."""


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
        ConfigurationError: An address cannot be listened on, or the files of TLS do not serve.
    """
    with listen(settings.host, settings.port, "LORAGEN_CLOUD_PORT") as listener:
        files = settings.tls_files
        tls = None if files is None else ServerTls(files)
        grpc_port = await grpc_server.start(settings.host, settings.grpc_port, files)
        http = HttpServer(app, listener, settings.shutdown_timeout_seconds, tls, settings.trusted_proxies)
        serving = asyncio.create_task(http.run())
        stopping = asyncio.create_task(stop.wait())
        _log.info(
            "serving",
            host=settings.host,
            http_port=http.port,
            grpc_port=grpc_port,
            allowed_hosts=str(settings.hosts),
            tls="none" if files is None else "mutual" if files.client_ca else "server",
        )
        if listening is not None:
            listening(http.port, grpc_port)
        try:
            # A server that ends by itself ends the process: half a service would look alive.
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            await _drain(settings, http, serving, grpc_server, service, channels)


async def _drain(
    settings: CloudSettings,
    http: HttpServer,
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
    http.stop()
    stopping = asyncio.gather(serving, grpc_server.stop(settings.shutdown_timeout_seconds))
    await asyncio.wait({stopping}, timeout=settings.shutdown_timeout_seconds - _LAST_SECONDS)
    cut_off = await service.close(timeout_seconds=0)
    await stopping
    _log.info("stopped", seconds=round(time.monotonic() - started, 2), generations_cut_off=cut_off)
