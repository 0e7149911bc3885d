"""Traces by OpenTelemetry: what happened within one request, and how long each part took.

Rules it keeps:
- OpenTelemetry's own variables say where traces go (`OTEL_EXPORTER_OTLP_ENDPOINT`) and which (`OTEL_TRACES_SAMPLER`).
  Without an endpoint, or without the extra `otel`, no SDK is imported, and a span costs a look at one variable.
- Traces never keep a service from starting, answering or ending. What is wrong with them is a line in the log.
- A span carries routes, codes and times; never what a client wrote as content, nor the message of an exception.
- A span is part of a request. What a service does by itself has none.

FastAPI itself makes the span of an HTTP request, from whatever provider `exporting_traces` has set for the process.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

if TYPE_CHECKING:
    from fastapi.telemetry import TelemetryConfig
    from opentelemetry.sdk.trace import TracerProvider

_log = structlog.get_logger(__name__)

_NAME = "loragen"
_OFF = "traces_off"
_QUIET = ("/health/", "/metrics")

_LAST_SECONDS = 2.0
"""For the last spans to reach the collector when the process ends."""

HTTP_TELEMETRY: "TelemetryConfig" = {
    "exclude": lambda scope: str(scope.get("path", "")).startswith(_QUIET),
    "operation_spans": False,
    # Prometheus has the metrics, and log records would quote exceptions, which may quote a client.
    "metrics": False,
    "logs": False,
    "auto_configure": False,
}
"""What FastAPI records of a request: one span."""


@contextmanager
def exporting_traces(service: str) -> Iterator[None]:
    """Within the block, traces of this process go where the environment says, if it does.

    Args:
        service: Name of the service, unless the environment has another.
    """
    provider = _make_provider(service)
    if provider is None:
        yield
        return
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        # On a thread of its own: a collector that hangs must not hold up the end of the process.
        last = threading.Thread(target=provider.shutdown, daemon=True, name="traces")
        last.start()
        last.join(_LAST_SECONDS)


def trace_fields() -> dict[str, str]:
    """The id of the current trace, for the log; nothing where there is none."""
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else {}


def name_request(method: str, find_route: Callable[[], str]) -> None:
    """Name the span of an HTTP request, which may be answered before FastAPI has looked for its route."""
    current = trace.get_current_span()
    if current.is_recording():
        route = find_route()
        current.update_name(f"{method} {route}")
        current.set_attribute("http.route", route)


def hide_query() -> None:
    """Take the query out of the span of an HTTP request: it is a client's own text. FastAPI puts it there."""
    current = trace.get_current_span()
    if current.is_recording():
        current.set_attribute("url.query", "REDACTED")


@contextmanager
def call_span(name: str, carrier: Mapping[str, str], **attributes: str) -> Iterator[None]:
    """The span of a call that this service answers; part of the caller's trace when `carrier` has a `traceparent`."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        yield
        return
    with trace.get_tracer(_NAME).start_as_current_span(
        name,
        propagate.extract(carrier),
        SpanKind.SERVER,
        attributes,
        record_exception=False,
        set_status_on_exception=False,
    ):
        yield


def end_call(status: str, *, failed: bool) -> None:
    """Say in the span of a call how it ended."""
    current = trace.get_current_span()
    current.set_attribute("rpc.response.status_code", status)
    if failed:
        current.set_attribute("error.type", status)
        current.set_status(StatusCode.ERROR)


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """A part of the current request; nothing where no request is traced."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with trace.get_tracer(_NAME).start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except BaseException as e:
            current.set_attribute("error.type", type(e).__name__)
            current.set_status(StatusCode.ERROR)
            raise


def past_spans(**seconds: float) -> None:
    """Parts of the current request that followed each other and are just over, with the time that each took."""
    if not trace.get_current_span().is_recording():
        return
    tracer = trace.get_tracer(_NAME)
    started = time.time_ns() - round(sum(seconds.values()) * 1e9)
    for name, took in seconds.items():
        ended = started + round(took * 1e9)
        tracer.start_span(name.replace("_", " "), start_time=started).end(ended)
        started = ended


def _make_provider(service: str) -> "TracerProvider | None":
    environment = os.environ
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None  # whoever started this process has set one
    is_off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not endpoint or is_off or environment.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "http/protobuf"):
        _log.warning(_OFF, reason=f"expected OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, found {protocol[:40]!a}")
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning(_OFF, reason="the libraries are not installed: pip install 'loragen[otel]'")
        return None
    try:
        resource = Resource.create()
        if str(resource.attributes["service.name"]).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": service}))
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    except Exception as e:
        _log.warning(_OFF, reason=f"{type(e).__name__}: {str(e)[:200]}")
        return None
    _log.info("traces_on", service=str(resource.attributes["service.name"]))
    return provider
