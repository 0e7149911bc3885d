"""The outermost layer of gRPC, as `loragen.web.scope` is for HTTP: the same ids, records, metrics and errors.

An error becomes a status code whose message says what was expected and found. The trailing metadata hold the other
fields of an HTTP error body.

A request's message is read here, and has a time to arrive. gRPC itself would wait for it until the client's own
deadline, and call nobody before. So every method is served as one whose request is a stream: on the wire both are the
same.
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
from loragen.web.errors import BodyTimeoutError, ServiceError
from loragen.web.logs import describe_crash
from loragen.web.scope import RequestRecord, log_request, new_request_id
from loragen.web.tracing import call_span, end_call, trace_fields

_log = structlog.get_logger(__name__)

_OURS = "/loragen."


class GrpcScope(grpc.aio.ServerInterceptor):
    """Interceptor of this package's methods. Of those of health it bounds the time of the request alone.

    Args:
        metrics: Counts.
        message_seconds: Longest time for a request's message to arrive.
    """

    def __init__(self, metrics: Metrics, message_seconds: float) -> None:
        self._metrics = metrics
        self._message_seconds = message_seconds

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or handler.request_streaming:
            return handler
        if not method.startswith(_OURS):
            return self._in_time(handler)
        carrier = {key: value for key, value in handler_call_details.invocation_metadata if isinstance(value, str)}
        proposed = carrier.get("x-request-id")
        # Messages are parsed inside the call: gRPC's own answer to bad bytes has no code and no request id.
        codec = (None, handler.response_serializer)

        async def receive(context: Any) -> Any:
            data = await self._read(context)
            try:
                return handler.request_deserializer(data)
            except DecodeError as e:
                raise MalformedBodyError(
                    f"expected a message of {method}, found {len(data)} bytes that are none",
                    "encode it by protos/, texts in UTF-8",
                ) from e

        async def unary(_messages: Any, context: Any) -> Any:
            # A stream has no span: it stays open for days, and the gates behind this one run in other contexts.
            name = method.removeprefix("/")
            with call_span(name, carrier, **{"rpc.system.name": "grpc", "rpc.method": name}):
                async with self._call(method, proposed, context):
                    return await handler.unary_unary(await receive(context), context)

        async def stream(_messages: Any, context: Any) -> AsyncIterator[Any]:
            # Closed here and not by the garbage collector: whoever watches gives back a place.
            async with (
                self._call(method, proposed, context),
                aclosing(handler.unary_stream(await receive(context), context)) as messages,
            ):
                async for message in messages:
                    yield message

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, *codec)
        return grpc.stream_unary_rpc_method_handler(unary, *codec)

    def _in_time(self, handler: Any) -> Any:
        """The same method, whose request has a time to arrive."""
        codec = (handler.request_deserializer, handler.response_serializer)

        async def call(_messages: Any, context: Any) -> Any:
            try:
                message = await self._read(context)
            except (BodyTimeoutError, MalformedBodyError) as e:
                await context.abort(grpc_status(e), str(e))
            return await (handler.unary_stream or handler.unary_unary)(message, context)

        if handler.response_streaming:
            return grpc.stream_stream_rpc_method_handler(call, *codec)
        return grpc.stream_unary_rpc_method_handler(call, *codec)

    async def _read(self, context: Any) -> Any:
        """The request's message.

        Raises:
            BodyTimeoutError, MalformedBodyError: It does not come in time, or never.
        """
        try:
            async with asyncio.timeout(self._message_seconds):
                message = await context.read()
        except TimeoutError:
            raise BodyTimeoutError(f"expected the whole message within {self._message_seconds:g} s") from None
        if message is grpc.aio.EOF:
            raise MalformedBodyError("expected a message, found none", "send the request's message")
        return message

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
            error = e if isinstance(e, CloudError | BodyTimeoutError) else _unexpected(e)
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


def _trailers(error: ServiceError, request_id: str) -> tuple[tuple[str, str], ...]:
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
