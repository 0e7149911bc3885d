"""The spans of requests to the cloud service, over HTTP and gRPC, and the trace's id in its log."""

from collections.abc import Iterator

import grpc
import httpx2
import pytest
from opentelemetry.trace import SpanKind
from structlog.testing import capture_logs

from cloud_service.bootstrap import Cloud
from loragen.contract.stubs import loragen_pb2 as pb
from loragen.contract.stubs import loragen_pb2_grpc as stubs
from tests.cloud_service.guarded import Guarded
from tests.traces import Traces, tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = PARENT.split("-")[1]


@pytest.fixture
def traces() -> Iterator[Traces]:
    with tracing() as traces:
        yield traces


async def test_generation_over_http_is_one_trace_with_its_parts(traces: Traces, http: httpx2.AsyncClient) -> None:
    answer = await http.post("/generate-lora", json={"description": "A secret."}, headers={"traceparent": PARENT})
    assert answer.status_code == 200
    call = traces.one("POST /generate-lora")
    assert call.kind is SpanKind.SERVER
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == PARENT.split("-")[2]
    assert call.attributes is not None
    assert call.attributes["http.response.status_code"] == 200
    names = {span.name for span in traces.all()}
    assert {"queue wait", "forward pass", "sqlite"} <= names
    assert {f"{span.context.trace_id:032x}" for span in traces.all()} == {TRACE}
    assert "secret" not in traces.text()


async def test_request_record_has_the_id_of_its_trace(
    traces: Traces, http: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    await http.get("/generators", headers={"traceparent": PARENT})
    assert f"trace_id={TRACE}" in capsys.readouterr().out


async def test_failed_request_says_so_and_health_is_no_trace(traces: Traces, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/bundles/none")).status_code == 422
    assert (await http.get("/health/ready")).status_code == 200
    assert (await http.get("/metrics")).status_code == 200
    (call,) = [span for span in traces.all() if span.kind is SpanKind.SERVER]
    assert call.attributes is not None
    assert (call.name, call.attributes["http.response.status_code"]) == ("GET /bundles/{bundle_id}", 422)


async def test_request_that_never_reaches_its_route_is_named_by_it(traces: Traces, guarded: Guarded) -> None:
    assert (await guarded.http.get("/channels/kitchen/events")).status_code == 401
    assert (await guarded.http.get("/nowhere/secret")).status_code == 401
    names = [span.name for span in traces.all() if span.kind is SpanKind.SERVER]
    assert names == ["GET /channels/{channel}/events", "GET unmatched"]


async def test_query_of_a_request_is_in_no_span(traces: Traces, http: httpx2.AsyncClient) -> None:
    for path in ("/channels/kitchen?secret=a%20secret", "/nowhere?secret"):
        await http.get(path)
    assert "url.query" in traces.text()
    assert "secret" not in traces.text()


async def test_request_without_tracing_has_no_id_of_a_trace(http: httpx2.AsyncClient) -> None:
    with capture_logs() as logged:
        await http.get("/generators", headers={"traceparent": PARENT})
    assert all("trace_id" not in line for line in logged)


async def test_grpc_call_is_one_trace_with_its_parts(traces: Traces, cloud: Cloud) -> None:
    port = await cloud.grpc_server.start("127.0.0.1", 0)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        generate = stubs.GeneratorStub(channel).GenerateLora
        await generate(pb.GenerateLoraRequest(description="A secret."), metadata=(("traceparent", PARENT),))
        with pytest.raises(grpc.aio.AioRpcError):
            await generate(pb.GenerateLoraRequest(description="", generator="none"))
    await cloud.grpc_server.stop(1)
    good, bad = traces.named("loragen.v1.Generator/GenerateLora")
    assert good.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "loragen.v1.Generator/GenerateLora",
        "rpc.response.status_code": "OK",
    }
    assert f"{good.context.trace_id:032x}" == TRACE
    assert f"{bad.context.trace_id:032x}" != TRACE
    assert bad.attributes is not None
    assert bad.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert {"queue wait", "forward pass", "sqlite"} <= {span.name for span in traces.all()}
    assert "secret" not in traces.text()
