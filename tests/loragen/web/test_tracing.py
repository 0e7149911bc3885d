"""Traces: where they go, when there are none, and what they never say."""

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from structlog.testing import capture_logs

from cloud_service.config import CloudSettings
from edge_runtime.config import EdgeSettings
from loragen.web.tracing import call_span, end_call, exporting_traces, past_spans, span, trace_fields
from tests.loopback_server import LoopbackServer, QuietHandler
from tests.traces import Traces, no_provider, tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = f"{PARENT[:-2]}00"


@pytest.fixture
def traces() -> Iterator[Traces]:
    with tracing() as traces:
        yield traces


class Collector(LoopbackServer):
    """What a collector on loopback was sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, ExportTraceServiceRequest]] = []
        outer = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                outer.received.append((self.path, ExportTraceServiceRequest.FromString(data)))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

        super().__init__(Handler)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "TRACES_ENDPOINT", "PROTOCOL"):
        monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_{name}", raising=False)


def test_spans_reach_the_collector_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as collector, no_provider():
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        with exporting_traces("loragen-cloud"), call_span("call", {}), span("part"):
            pass
    ((path, request),) = collector.received
    (resource,) = request.resource_spans
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert path == "/v1/traces"
    assert attributes["service.name"] == "loragen-cloud"
    assert attributes["deployment.environment.name"] == "test"
    assert {each.name for scope in resource.scope_spans for each in scope.spans} == {"call", "part"}


def test_name_of_the_service_may_be_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "blue")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    with capture_logs() as logged, no_provider(), exporting_traces("loragen-cloud"):
        pass
    assert [line["service"] for line in logged if line["event"] == "traces_on"] == ["blue"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "ValueError"),
    ],
)
def test_there_are_no_traces_without_a_collector_and_a_fault_stops_no_start(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], reason: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logged, no_provider(), exporting_traces("loragen-cloud"):
        assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    reasons = [line["reason"] for line in logged if line["event"] == "traces_off"]
    assert len(reasons) == (reason is not None)
    assert all(str(reason) in each for each in reasons)


def test_service_without_the_extra_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as logged, no_provider(), exporting_traces("loragen-cloud"):
        assert trace_fields() == {}
    (line,) = [line for line in logged if line["event"] == "traces_off"]
    assert "loragen[otel]" in line["reason"]


def test_provider_of_whoever_started_the_process_stays(monkeypatch: pytest.MonkeyPatch, traces: Traces) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with exporting_traces("loragen-cloud"), call_span("call", {}):
        pass
    assert traces.one("call")


def test_nothing_is_imported_without_a_collector() -> None:
    code = (
        "import sys, cloud_service.http.app, edge_runtime.serving.app\n"
        "from loragen.web.tracing import exporting_traces\n"
        "with exporting_traces('x'): pass\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_hanging_collector_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loragen.web.tracing._LAST_SECONDS", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    ended = threading.Event()
    with no_provider():
        with exporting_traces("loragen-cloud"):
            provider = trace.get_tracer_provider()
            shut_down = provider.shutdown  # type: ignore[attr-defined]
            monkeypatch.setattr(provider, "shutdown", ended.wait)
        ended.set()
        shut_down()


def test_call_continues_the_trace_of_its_caller(traces: Traces) -> None:
    with call_span("call", {"traceparent": PARENT}, **{"rpc.method": "call"}):
        with span("part"):
            assert trace_fields() == {"trace_id": PARENT.split("-")[1]}
        end_call("NOT_FOUND", failed=False)
    call, part = traces.one("call"), traces.one("part")
    assert call.parent is not None
    assert part.parent is not None
    assert f"{call.parent.span_id:016x}" == PARENT.split("-")[2]
    assert part.parent.span_id == call.context.span_id
    assert call.attributes == {"rpc.method": "call", "rpc.response.status_code": "NOT_FOUND"}
    assert call.status.is_unset or call.status.is_ok


@pytest.mark.parametrize("parent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\x00" * 500])
def test_damaged_parent_begins_a_trace_of_its_own(traces: Traces, parent: str) -> None:
    with call_span("call", {"traceparent": parent}):
        assert len(trace_fields()["trace_id"]) == 32
    assert traces.one("call").parent is None


def test_call_that_its_caller_does_not_trace_has_no_parts(traces: Traces) -> None:
    with call_span("call", {"traceparent": UNSAMPLED}), span("part"):
        past_spans(queue_wait=0.5)
        assert trace_fields() == {"trace_id": PARENT.split("-")[1]}
    assert traces.all() == ()


def test_work_outside_of_a_request_has_no_spans(traces: Traces) -> None:
    with span("part"):
        past_spans(queue_wait=0.5)
    assert trace_fields() == {}
    assert traces.all() == ()


def test_parts_that_are_over_follow_each_other_to_now(traces: Traces) -> None:
    with call_span("call", {}):
        past_spans(queue_wait=0.5, forward_pass=0.25)
    wait, forward, call = traces.one("queue wait"), traces.one("forward pass"), traces.one("call")
    assert wait.end_time == forward.start_time
    assert None not in (wait.start_time, wait.end_time, forward.end_time, call.end_time)
    assert wait.end_time - wait.start_time == 500_000_000  # type: ignore[operator]
    assert forward.end_time - forward.start_time == 250_000_000  # type: ignore[operator]
    assert forward.end_time <= call.end_time  # type: ignore[operator]


def test_failure_names_its_type_and_does_not_quote_it(traces: Traces) -> None:
    with pytest.raises(ValueError, match="hunter2"), call_span("call", {}), span("part"):
        raise ValueError("password=hunter2")
    part = traces.one("part")
    assert part.attributes == {"error.type": "ValueError"}
    assert not part.status.is_ok
    assert "hunter2" not in traces.text()
    with call_span("failed", {}):
        end_call("INTERNAL", failed=True)
    assert not traces.one("failed").status.is_ok


def test_variables_of_opentelemetry_are_no_unknown_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("LORAGEN_EDGE_ALLOW_UNSIGNED", "true")
    CloudSettings.load()
    EdgeSettings.load()
