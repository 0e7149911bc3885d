"""Runs a device: its HTTP interface and its daemon, from the first probe to the last request.

Order at the start: HTTP first, so that probes are answered while models load; then what served before the restart; then
the first poll. At the end: not ready; requests in flight finish, or are cut off after `shutdown_timeout_seconds`; then
the models are closed.
"""

import asyncio

import structlog
from fastapi import FastAPI

from edge_runtime.config import EdgeSettings
from edge_runtime.daemon import Daemon
from edge_runtime.device import Device
from loragen.signals import stop_on_signals
from loragen.version import package_version
from loragen.web.server import HttpServer, listen
from loragen.web.tls import ServerTls

_log = structlog.get_logger(__name__)


async def serve(settings: EdgeSettings, app: FastAPI, device: Device, daemon: Daemon) -> None:
    """Run a device that is put together until SIGTERM or SIGINT.

    Raises:
        ConfigurationError: The address cannot be listened on, or the certificate cannot be used.
        EdgeError: Not even the base model can serve.
    """
    files = settings.tls_files
    tls = None if files is None else ServerTls(files)
    listener = listen(settings.host, settings.port, "LORAGEN_EDGE_PORT")
    http = HttpServer(app, listener, settings.shutdown_timeout_seconds, tls)
    _log.info(
        "serving",
        host=settings.host,
        http_port=http.port,
        allowed_hosts=str(settings.hosts),
        authentication="none" if settings.api_key is None else "api key",
        tls=tls is not None,
        version=package_version(),
        device_id=device.device_id,
        channel=settings.channel,
        # Without what may stand before the host: a name and a password.
        cloud=settings.cloud_url.host if settings.cloud_url else None,
        base_gguf=settings.base_model.name,
        quantization=settings.quantization,
    )
    with stop_on_signals() as stop:
        serving = asyncio.create_task(http.run())
        following = asyncio.create_task(daemon.run())
        stopping = asyncio.create_task(stop.wait())
        # A device that no longer serves, or no longer follows its channel, ends: half of it would look alive.
        await asyncio.wait({serving, following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        _log.info("draining", timeout_seconds=settings.shutdown_timeout_seconds)
        device.stopping = True
        daemon.stop()
        http.stop()
        results = await asyncio.gather(serving, following, return_exceptions=True)
    _log.info("stopped")
    for result in results:
        if isinstance(result, BaseException):
            raise result
