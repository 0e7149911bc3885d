"""A store that hangs, under the whole service: every call waits for it once, and all goes on when it is back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc
import httpx2
import pytest
import pytest_asyncio

from cloud_service.bootstrap import Cloud, open_cloud
from cloud_service.errors import StoreUnavailableError
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import client_of, publish_to, settings_for
from tests.cloud_service.fake_generator import FakeGenerator
from tests.cloud_service.store_backends import RedisBackend

TIMEOUT = 1.0

NEW = {"description": "Sort the mail."}
REFINE = {
    "description": "Echo.",
    "examples": [{"input": word, "output": word} for word in ("one", "two", "three", "four")],
    "refine": {"steps": 2, "budget_seconds": 5},
}
POLLED = {"if-none-match": '"old"'}

CALLS: dict[str, Callable[[httpx2.AsyncClient], Awaitable[httpx2.Response]]] = {
    "generate": lambda http: http.post("/generate-lora", json=NEW),
    "refine": lambda http: http.post("/generate-lora", json=REFINE),
    "publish": lambda http: http.put("/channels/c/specializations/a", json={"bundle_id": "0" * 64}),
    "roll_back": lambda http: http.post("/channels/c/rollback", json={"version": 1}),
    "roll_out": lambda http: http.post("/channels/c/rollouts", json={"version": 1}),
    "poll": lambda http: http.get("/channels/c", headers=POLLED),
    "devices": lambda http: http.get("/devices"),
    "bundle": lambda http: http.get(f"/bundles/{'0' * 64}"),
    "console": lambda http: http.get("/console/channels/c"),
    "audit": lambda http: http.get("/audit"),
}


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(tmp_path)
    await (await backend.open()).verify_writable()
    yield backend
    backend.go_on()
    await backend.stop()


@pytest_asyncio.fixture
async def cloud(redis: RedisBackend, tmp_path: Path, generator: FakeGenerator) -> AsyncIterator[Cloud]:
    settings = settings_for(tmp_path, store_url=redis.url, store_timeout_seconds=TIMEOUT)
    async with open_cloud(settings, [generator]) as cloud:
        await publish_to(cloud, "c")
        yield cloud


@pytest.mark.parametrize("call", CALLS)
async def test_call_waits_once_for_a_store_that_hangs(redis: RedisBackend, cloud: Cloud, call: str) -> None:
    """It looks for keys, too, before anything else: each of its calls of the store could wait for as long."""
    async with client_of(cloud) as http:
        redis.pause()
        began = asyncio.get_running_loop().time()
        answer = await CALLS[call](http)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert asyncio.get_running_loop().time() - began < 1.8 * TIMEOUT
        redis.go_on()
        assert (await CALLS[call](http)).status_code < 500


async def test_grpc_call_waits_once_for_a_store_that_hangs(redis: RedisBackend, cloud: Cloud) -> None:
    port = await cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        report = stubs.ChannelsStub(channel).ReportStatus
        redis.pause()
        began = asyncio.get_running_loop().time()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await report(pb.DeviceReport(device_id="toaster", channel="c"))
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert asyncio.get_running_loop().time() - began < 1.8 * TIMEOUT
        redis.go_on()
        await report(pb.DeviceReport(device_id="toaster", channel="c"))
    await cloud.grpc_server.stop(1)


async def test_start_waits_once_for_a_store_that_hangs(
    redis: RedisBackend, tmp_path: Path, generator: FakeGenerator
) -> None:
    """A signal to stop would wait for it."""
    settings = settings_for(tmp_path, store_url=redis.url, store_timeout_seconds=TIMEOUT)
    redis.pause()
    began = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailableError):
        async with open_cloud(settings, [generator]):
            pass
    assert asyncio.get_running_loop().time() - began < 1.8 * TIMEOUT
