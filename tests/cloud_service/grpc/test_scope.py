"""Errors over gRPC: status, code, hint and request id."""

import asyncio
from pathlib import Path

import grpc
import pytest

from cloud_service.bootstrap import open_cloud
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.clouds import eventually, settings_for
from tests.cloud_service.fake_generator import FakeGenerator


def _trailers(error: grpc.aio.AioRpcError) -> dict[str, str]:
    return {key: str(value) for key, value in error.trailing_metadata()}


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


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["garbage", "invalid UTF-8"])
async def test_bytes_that_are_no_message_get_an_error_of_ours(channel: grpc.aio.Channel, data: bytes) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/loragen.v1.Generator/GenerateLora")(data)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = _trailers(caught.value)
    assert trailers["loragen-error-code"] == "malformed_body"
    assert trailers["loragen-request-id"]
