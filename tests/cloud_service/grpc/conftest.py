"""Helper: the gRPC interface on a real port, and its stubs."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from cloud_service.bootstrap import Cloud
from loragen.contract.stubs import loragen_pb2_grpc as stubs


@pytest_asyncio.fixture
async def channel(cloud: Cloud) -> AsyncIterator[grpc.aio.Channel]:
    port = await cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await cloud.grpc_server.stop(1)


@pytest.fixture
def generator_stub(channel: grpc.aio.Channel) -> stubs.GeneratorStub:
    return stubs.GeneratorStub(channel)


@pytest.fixture
def channels_stub(channel: grpc.aio.Channel) -> stubs.ChannelsStub:
    return stubs.ChannelsStub(channel)
