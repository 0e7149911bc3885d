"""The gRPC server: its limit, the health service and reflection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

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
from tests.cloud_service.clouds import eventually
from tests.cloud_service.grpc import http2


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


def _bounded_server(cloud: Cloud, message_seconds: float = 10.0) -> GrpcServer:
    return GrpcServer(cloud.service, cloud.channels, cloud.devices, Metrics(), cloud.access, message_seconds)


METHODS = ("loragen.v1.Generator/GenerateLora", "loragen.v1.Channels/Watch", "grpc.health.v1.Health/Check")


@pytest.mark.parametrize("method", [*METHODS, "grpc.health.v1.Health/Watch"])
async def test_call_whose_message_does_not_come_is_ended(cloud: Cloud, method: str) -> None:
    """gRPC itself waits for it as long as the client likes."""
    grpc_server = _bounded_server(cloud, message_seconds=0.2)
    port = await grpc_server.start("127.0.0.1", 0)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.stream_unary(f"/{method}")(nothing(), timeout=8)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "expected the whole message within 0.2 s",
    )
    await grpc_server.stop(1)


@pytest.mark.parametrize("method", METHODS)
async def test_call_without_a_message_is_refused(channel: grpc.aio.Channel, method: str) -> None:
    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.stream_unary(f"/{method}")(nothing(), timeout=8)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "expected a message, found none"


async def test_bundles_that_nobody_reads_are_few(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC keeps each until its client has read it or is gone: 64 streams of a connection kept a gigabyte."""
    monkeypatch.setattr("cloud_service.grpc.access_gate.MAX_BUNDLES_SENT", 2)
    grpc_server = _bounded_server(cloud)
    port = await grpc_server.start("127.0.0.1", 0)
    asked = pb.GenerateLoraRequest(description="Sort.", include_bundle=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        generate = stubs.GeneratorStub(channel).GenerateLora
        held = cloud.access.usage._all_held
        for _ in range(4):
            assert (await generate(asked)).bundle
            await eventually(lambda: held["bundles"] == 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(http2.begin(window=0))
        for stream in (1, 3):
            writer.write(http2.call(stream, "/loragen.v1.Generator/GenerateLora", asked.SerializeToString()))
        await eventually(lambda: held["bundles"] == 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await generate(asked)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await generate(pb.GenerateLoraRequest(description="Sort."))).id
        writer.close()
        await eventually(lambda: held["bundles"] == 0)
        assert (await generate(asked)).bundle
    await grpc_server.stop(1)


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
