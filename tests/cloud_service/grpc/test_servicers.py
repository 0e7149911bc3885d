"""gRPC over a real port: the same service, limits and errors as over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import httpx2
import numpy as np
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from cloud_service.bootstrap import Cloud, open_cloud
from loragen.contract.bundle import content_id
from loragen.contract.recipe import parse_recipe
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import eventually, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


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


def _trailers(error: grpc.aio.AioRpcError) -> dict[str, str]:
    return {key: str(value) for key, value in error.trailing_metadata()}


async def test_answer_is_that_of_http_with_exact_gates(
    generator_stub: stubs.GeneratorStub, http: httpx2.AsyncClient
) -> None:
    tool = pb.Tool(name="find", description="Finds.", parameters_json='{"type": "object", "properties": {"a": {}}}')
    request = pb.GenerateLoraRequest(
        description="Sort.", examples=[pb.Example(input="a", output="b")], tools=[tool], output_format="word"
    )
    request.include_bundle = True
    answer = await generator_stub.GenerateLora(request)
    over_http = (
        await http.post(
            "/generate-lora",
            json={
                "description": "Sort.",
                "examples": [{"input": "a", "output": "b"}],
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "find", "description": "Finds.", "parameters": {"properties": {"a": {}}}},
                    }
                ],
                "output_format": "word",
            },
        )
    ).json()
    assert over_http["cached"], "both protocols must ask for the same thing"
    assert answer.id == over_http["id"] == content_id(answer.bundle)
    assert answer.tokens_saved_per_call == over_http["tokens_saved_per_call"]
    recipe = parse_recipe((await http.get(f"/recipes/{answer.recipe_id}")).content)
    shape = (answer.gates.layers, answer.gates.groups, answer.gates.experts)
    assert np.array_equal(np.array(answer.gates.values, np.float32).reshape(shape), recipe.gates)


async def test_bundle_comes_only_when_asked_for(generator_stub: stubs.GeneratorStub) -> None:
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort."))
    assert not answer.HasField("bundle")


async def test_publish_in_the_request_publishes(generator_stub: stubs.GeneratorStub, http: httpx2.AsyncClient) -> None:
    target = pb.PublishTarget(channel="kitchen", name="mail")
    answer = await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="Sort.", publish=target))
    assert (await http.get("/channels/kitchen")).json()["specializations"][0]["bundle_id"] == answer.id


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (pb.GenerateLoraRequest(), "INVALID_ARGUMENT", "invalid_request"),
        (pb.GenerateLoraRequest(description="a" * 16001), "INVALID_ARGUMENT", "invalid_request"),
        (pb.GenerateLoraRequest(tools=[pb.Tool(name="a b")]), "INVALID_ARGUMENT", "invalid_request"),
        (pb.GenerateLoraRequest(tools=[pb.Tool(name="a", parameters_json="{")]), "INVALID_ARGUMENT", "invalid_request"),
        (
            pb.GenerateLoraRequest(tools=[pb.Tool(name="a", parameters_json="[]")]),
            "INVALID_ARGUMENT",
            "invalid_request",
        ),
        (pb.GenerateLoraRequest(description="a", generator="other"), "INVALID_ARGUMENT", "unknown_generator"),
        (pb.GenerateLoraRequest(description="a", edge_model="other"), "INVALID_ARGUMENT", "unknown_edge_model"),
        (
            pb.GenerateLoraRequest(description="a", publish=pb.PublishTarget(channel="c", name="base")),
            "INVALID_ARGUMENT",
            "reserved_name",
        ),
        (pb.GenerateLoraRequest(description="word " * 250), "INVALID_ARGUMENT", "prompt_too_long"),
        (pb.GenerateLoraRequest(description="CRASH"), "INTERNAL", "generation_failed"),
    ],
)
async def test_bad_request_has_status_code_hint_and_request_id(
    generator_stub: stubs.GeneratorStub, request_: pb.GenerateLoraRequest, status: str, code: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generator_stub.GenerateLora(request_, metadata=(("x-request-id", "abc-1"),))
    assert caught.value.code() == grpc.StatusCode[status]
    assert caught.value.details()
    trailers = _trailers(caught.value)
    assert trailers["loragen-error-code"] == code
    assert "loragen-error-hint" in trailers
    assert trailers["loragen-request-id"] == "abc-1"
    assert (await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="alive?"))).id


async def test_message_over_the_limit_is_refused(generator_stub: stubs.GeneratorStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description="a" * 2_000_000))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_full_queue_is_resource_exhausted_with_retry_after(tmp_path: Path, generator: FakeGenerator) -> None:
    settings = settings_for(tmp_path, max_queue=1, max_batch=1, max_delay_seconds=0)
    async with open_cloud(settings, [generator]) as cloud:
        port = await cloud.grpc_server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = stubs.GeneratorStub(channel)
            generator.gate.clear()
            accepted = [asyncio.ensure_future(stub.GenerateLora(pb.GenerateLoraRequest(description="running")))]
            await generator.wait_until_called()
            accepted.append(asyncio.ensure_future(stub.GenerateLora(pb.GenerateLoraRequest(description="waiting"))))
            (served,) = cloud.service.catalog
            await eventually(lambda: served.runner.waiting == 1)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GenerateLora(pb.GenerateLoraRequest(description="one too many"))
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert int(_trailers(caught.value)["retry-after"]) >= 1
            generator.gate.set()
            await asyncio.gather(*accepted)
        await cloud.grpc_server.stop(1)


async def test_watch_tells_of_publishes_and_ends_when_the_process_drains(
    cloud: Cloud,
    generator_stub: stubs.GeneratorStub,
    channels_stub: stubs.ChannelsStub,
) -> None:
    changes = channels_stub.Watch(pb.WatchRequest(channel="kitchen", device_id="toaster"))
    for version, text in enumerate(("one", "two"), start=1):
        target = pb.PublishTarget(channel="kitchen", name=text)
        await generator_stub.GenerateLora(pb.GenerateLoraRequest(description=text, publish=target))
        async with asyncio.timeout(5):
            assert await changes.read() == pb.ChannelChanged(channel="kitchen", version=version)
    cloud.channels.drain()
    async with asyncio.timeout(5):
        assert await changes.read() is grpc.aio.EOF


async def test_watch_of_a_channel_without_a_proper_name_is_refused(channels_stub: stubs.ChannelsStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channels_stub.Watch(pb.WatchRequest(channel="../x")).read()
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_client_that_stops_watching_leaves_nothing_behind(
    cloud: Cloud, channels_stub: stubs.ChannelsStub
) -> None:
    changes = channels_stub.Watch(pb.WatchRequest(channel="kitchen"))
    reading = asyncio.ensure_future(changes.read())
    await eventually(lambda: cloud.channels.watches == 1)
    changes.cancel()
    await eventually(lambda: cloud.channels.watches == 0)
    await asyncio.gather(reading, return_exceptions=True)


async def test_what_a_device_reports_is_listed(channels_stub: stubs.ChannelsStub, http: httpx2.AsyncClient) -> None:
    running = pb.RunningSpecialization(
        name="mail", bundle_id="0" * 64, state=pb.SPECIALIZATION_STATE_FAILED, message="disk full"
    )
    node = "node-1." + "a" * 63 + ".internal.example"
    status = pb.DeviceStatus(
        device_id=node, channel="kitchen", channel_version=3, specializations=[running], runtime_version="0.1"
    )
    await channels_stub.ReportStatus(status)
    (device,) = (await http.get("/channels/kitchen/devices")).json()["devices"]
    assert device["reported_at"]
    assert device["device_id"] == node
    assert device["specializations"] == [
        {"name": "mail", "bundle_id": "0" * 64, "state": "failed", "message": "disk full"}
    ]


@pytest.mark.parametrize(
    "status",
    [
        pb.DeviceStatus(device_id="../x", channel="kitchen"),
        pb.DeviceStatus(device_id="toaster", channel=""),
        pb.DeviceStatus(device_id="toaster", channel="kitchen", runtime_version="a" * 101),
        pb.DeviceStatus(device_id="toaster", channel="kitchen", specializations=[pb.RunningSpecialization(name="a")]),
    ],
)
async def test_report_that_is_none_is_refused(channels_stub: stubs.ChannelsStub, status: pb.DeviceStatus) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channels_stub.ReportStatus(status)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


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


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["garbage", "invalid UTF-8"])
async def test_bytes_that_are_no_message_get_an_error_of_ours(channel: grpc.aio.Channel, data: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/loragen.v1.Generator/GenerateLora")(data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = _trailers(caught.value)
    assert trailers["loragen-error-code"] == "malformed_body"
    assert trailers["loragen-request-id"]
