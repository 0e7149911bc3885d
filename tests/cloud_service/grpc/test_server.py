"""The gRPC server: its limit, the health service and reflection."""

import asyncio
import contextlib
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cloud_service.bootstrap import Cloud
from cloud_service.grpc.server import GrpcServer
from cloud_service.telemetry import Metrics
from loragen.contract.keepalive import client_options
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs


async def test_message_over_the_limit_is_refused(generator_stub: stubs.GeneratorStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="a" * 2_000_000))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_health_says_serving_until_the_process_drains(cloud: Cloud, channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "loragen.v1.Generator", "loragen.v1.Channels"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await cloud.grpc_server.drain()
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")

    async for answer in stub.ServerReflectionInfo(requests()):
        names = {service.name for service in answer.list_services_response.service}
        assert {"loragen.v1.Generator", "loragen.v1.Channels", "grpc.health.v1.Health"} <= names
        break


async def test_quiet_watch_is_not_ended_for_its_pings(cloud: Cloud) -> None:
    """With a device's own options, and the time between pings cut to a fraction."""
    server = GrpcServer(cloud.service, cloud.channels, cloud.devices, Metrics(), cloud.access, ping_seconds=0.1)
    port = await server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=client_options(0.1)) as channel:
        call = stubs.ChannelsStub(channel).Watch(pb.WatchRequest(channel="default", device_id="dev", known_version=0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call.read(), 1.5)
        assert cloud.channels.watches == 1
    await server.stop(1)


def _bounded_server(cloud: Cloud) -> GrpcServer:
    return GrpcServer(cloud.service, cloud.channels, cloud.devices, Metrics(), cloud.access)


async def _read_to_the_end(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionResetError):
        async with asyncio.timeout(8):
            while await reader.read(1_000):
                pass


async def test_connection_that_sends_nothing_is_closed(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.grpc.server._HANDSHAKE_SECONDS", 0.3)
    grpc_server = _bounded_server(cloud)
    port = await grpc_server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await _read_to_the_end(reader)
    writer.close()
    await grpc_server.stop(1)


async def test_connections_over_the_bound_are_refused(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_service.grpc.server.descriptor_limit", lambda: 8)
    grpc_server = _bounded_server(cloud)
    port = await grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest())
        _, second = await asyncio.open_connection("127.0.0.1", port)
        refused, third = await asyncio.open_connection("127.0.0.1", port)
        await _read_to_the_end(refused)
        await health.Check(health_pb2.HealthCheckRequest())
        for writer in (second, third):
            writer.close()
    await grpc_server.stop(1)


async def test_old_connection_ends_with_its_streams_and_a_new_one_goes_on(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream of the health service needs no key, and nothing else would ever end it."""
    monkeypatch.setattr("cloud_service.grpc.server._AGE_SECONDS", 0.3)
    monkeypatch.setattr("cloud_service.grpc.server._LAST_CALLS_SECONDS", 0.1)
    grpc_server = _bounded_server(cloud)
    port = await grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())

        async def follow() -> None:
            async for _ in watch:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(follow(), 8)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await grpc_server.stop(1)
