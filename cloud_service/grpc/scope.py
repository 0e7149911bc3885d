"""The outermost layer of gRPC, as `loragen.web.scope` is for HTTP: the same ids, records, metrics and errors.

An error becomes a status code whose message says what was expected and found. The trailing metadata hold the other
fields of an HTTP error body.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError
from structlog.contextvars import bind_contextvars, clear_contextvars

from cloud_service.errors import CloudError, MalformedBodyError
from cloud_service.grpc.status import grpc_status
from cloud_service.telemetry import Metrics
from loragen.web.error_reference import documentation_url
from loragen.web.logs import describe_crash
from loragen.web.scope import RequestRecord, log_request, new_request_id
from loragen.web.tracing import call_span, end_call, trace_fields

_log = structlog.get_logger(__name__)

_OURS = "/loragen."


class GrpcScope(grpc.aio.ServerInterceptor):
    """Interceptor of this package's methods; it leaves those of health and reflection alone."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        carrier = {key: value for key, value in handler_call_details.invocation_metadata if isinstance(value, str)}
        proposed = carrier.get("x-request-id")
        # Messages are parsed inside the call: gRPC's own answer to bad bytes has no code and no request id.
        codec = (None, handler.response_serializer)

        def parse(data: bytes) -> Any:
            try:
                return handler.request_deserializer(data)
            except DecodeError as e:
                raise MalformedBodyError(
                    f"expected a message of {method}, found {len(data)} bytes that are none",
                    "encode it by protos/, texts in UTF-8",
                ) from e

        async def unary(data: bytes, context: Any) -> Any:
            # A stream has no span: it stays open for days, and the gates behind this one run in other contexts.
            name = method.removeprefix("/")
            with call_span(name, carrier, **{"rpc.system.name": "grpc", "rpc.method": name}):
                async with self._call(method, proposed, context):
                    return await handler.unary_unary(parse(data), context)

        async def stream(data: bytes, context: Any) -> AsyncIterator[Any]:
            # Closed here and not by the garbage collector: whoever watches gives back a place.
            async with (
                self._call(method, proposed, context),
                aclosing(handler.unary_stream(parse(data), context)) as messages,
            ):
                async for message in messages:
                    yield message

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, *codec)
        return grpc.unary_unary_rpc_method_handler(unary, *codec)

    @asynccontextmanager
    async def _call(self, method: str, proposed_id: str | None, context: Any) -> AsyncIterator[None]:
        request_id = new_request_id(proposed_id)
        record = RequestRecord(request_id=request_id, protocol="grpc", route=method)
        started = time.perf_counter()
        clear_contextvars()
        bind_contextvars(request_id=request_id, **trace_fields())
        status = grpc.StatusCode.OK
        try:
            yield
        except asyncio.CancelledError:
            status = grpc.StatusCode.CANCELLED
            raise
        except Exception as e:
            error = e if isinstance(e, CloudError) else _unexpected(e)
            status, record.code = grpc_status(error), error.code
            await context.abort(status, str(error), _trailers(error, request_id))
        finally:
            record.status = status.name
            record.duration_seconds = round(time.perf_counter() - started, 6)
            failed = status in (grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS)
            self._metrics.request_finished(record)
            log_request(record, failed=failed)
            end_call(status.name, failed=failed)
            clear_contextvars()


def _trailers(error: CloudError, request_id: str) -> tuple[tuple[str, str], ...]:
    return (
        ("loragen-error-code", error.code),
        ("loragen-error-hint", _ascii(error.hint)),
        ("loragen-request-id", request_id),
        ("loragen-error-documentation", documentation_url(error.code)),
        *((name, value) for name, value in error.headers.items() if name == "retry-after"),
    )


def _ascii(text: str) -> str:
    # Metadata are printable ASCII on one line.
    return text.replace("\n", " ").encode("ascii", "backslashreplace").decode()


def _unexpected(error: Exception) -> CloudError:
    _log.error("unexpected_error", crash=describe_crash(error))
    return CloudError("internal error", "report the request id to the operator")
