"""The gRPC server: its limit, the health service and reflection."""

import asyncio
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
