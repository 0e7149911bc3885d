"""The gRPC server: our services, the standard health service and reflection, on one port.

Connections are bounded in number and in time, with a key or without. One that sends no whole handshake, or no call, is
closed soon; any other after an hour, and devices then watch over a new one.

The health service says the same as `/health/ready`. Readiness is looked up at an interval, because the health
service's `Watch` must push changes.
"""

import asyncio
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cloud_service.access.control import AccessControl
from cloud_service.errors import CloudError
from cloud_service.fleet.channels import ChannelService
from cloud_service.fleet.devices import DeviceService
from cloud_service.grpc.access_gate import GrpcAccess
from cloud_service.grpc.scope import GrpcScope
from cloud_service.grpc.servicers import ChannelsServicer, GeneratorServicer
from cloud_service.grpc.tls import server_credentials
from cloud_service.limits import MAX_BODY_BYTES, MAX_STREAMS
from cloud_service.service import LoraService
from cloud_service.telemetry import Metrics
from loragen.contract.keepalive import PING_SECONDS, server_options
from loragen.contract.stubs import loragen_pb2, loragen_pb2_grpc
from loragen.web.errors import ConfigurationError
from loragen.web.server import descriptor_limit
from loragen.web.tls import TlsFiles

_SERVICES = tuple(service.full_name for service in loragen_pb2.DESCRIPTOR.services_by_name.values())

_HEALTH_INTERVAL_SECONDS = 2.0

_MOST_CONNECTIONS = 20_000
"""Where descriptors have no limit; some 20 KB each. A device has one."""

_HANDSHAKE_SECONDS = 10.0
"""For TLS and the first message of HTTP/2; gRPC itself allows 120 s."""

_IDLE_SECONDS = 300.0
"""For a connection without a call. A client that calls again makes another by itself."""

_AGE_SECONDS = 3_600.0
"""For a connection with calls, more or less a tenth. It ends what nobody can tell from a watch: a stream that was begun
without a key, such as one of the health service. Replicas also share their clients anew so."""

_LAST_CALLS_SECONDS = 120.0
"""For the calls of an old connection: the longest is a refinement of a minute with its wait."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_BODY_BYTES),
    ("grpc.max_send_message_length", -1),  # bundles; loragen.contract.limits bounds them
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.so_reuseport", 0),  # a second process on the same port must fail, not share it
)


class GrpcServer:
    """gRPC over the same service objects as HTTP.

    Args:
        service: Generates.
        channels: Watched by devices.
        devices: Takes their reports.
        metrics: Counts.
        access: Knows who may do what.
        message_seconds: Longest time for a request's message to arrive.
        ping_seconds: Between two pings of a silent connection.
    """

    def __init__(
        self,
        service: LoraService,
        channels: ChannelService,
        devices: DeviceService,
        metrics: Metrics,
        access: AccessControl,
        message_seconds: float = 10.0,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        self._service = service
        options = (*_OPTIONS, *_bounds(), *server_options(ping_seconds))
        interceptors = (
            GrpcScope(metrics, message_seconds),
            GrpcAccess(access.authenticator, access.usage, access.revocation),
        )
        self._server = grpc.aio.server(interceptors=interceptors, options=options)
        self._health = health.aio.HealthServicer()
        self._observer: asyncio.Task[None] | None = None
        generator_servicer, channels_servicer = GeneratorServicer(service), ChannelsServicer(channels, devices)
        # grpcio-tools makes stubs without types.
        loragen_pb2_grpc.add_GeneratorServicer_to_server(generator_servicer, self._server)  # type: ignore[no-untyped-call]
        loragen_pb2_grpc.add_ChannelsServicer_to_server(channels_servicer, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if access.reflection:
            names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def start(self, host: str, port: int, tls: TlsFiles | None = None) -> int:
        """Listen, with TLS or without.

        Returns:
            The port, which the system chose when `port` is 0.

        Raises:
            ConfigurationError: The address cannot be listened on.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            bound: int = (
                self._server.add_insecure_port(address)
                if tls is None
                else self._server.add_secure_port(address, server_credentials(tls))
            )
        except RuntimeError as e:
            raise ConfigurationError(
                f"cannot listen on {address} for gRPC", "set LORAGEN_CLOUD_GRPC_PORT to a free port"
            ) from e
        await self._server.start()
        await self._observe()
        self._observer = asyncio.create_task(self._keep_observing())
        return bound

    async def drain(self) -> None:
        """Report "not serving" from now on; calls are still served."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, timeout_seconds: float) -> None:
        """Take no new calls, give those in flight their time, then cancel them."""
        if self._observer is not None:
            self._observer.cancel()
            await asyncio.gather(self._observer, return_exceptions=True)
        await self._server.stop(timeout_seconds)

    async def _keep_observing(self) -> None:
        while True:
            await asyncio.sleep(_HEALTH_INTERVAL_SECONDS)
            await self._observe()

    async def _observe(self) -> None:
        try:
            await self._service.verify_ready()
        except CloudError:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        else:
            status = health_pb2.HealthCheckResponse.SERVING
        for name in ("", *_SERVICES):
            await self._health.set(name, status)


def _bounds() -> Sequence[tuple[str, int]]:
    """Options that bound connections: a quarter of the descriptors, as HTTP takes half."""
    limit = descriptor_limit()
    most = _MOST_CONNECTIONS if limit is None else max(1, min(_MOST_CONNECTIONS, limit // 4))
    return (
        ("grpc.max_allowed_incoming_connections", most),
        ("grpc.server_handshake_timeout_ms", round(1_000 * _HANDSHAKE_SECONDS)),
        ("grpc.max_connection_idle_ms", round(1_000 * _IDLE_SECONDS)),
        ("grpc.max_connection_age_ms", round(1_000 * _AGE_SECONDS)),
        ("grpc.max_connection_age_grace_ms", round(1_000 * _LAST_CALLS_SECONDS)),
    )
