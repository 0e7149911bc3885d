"""The outermost layer of HTTP: request ids, one canonical record for each request, and the body of every error.

Every error of the layers below ends here, so that one place writes it; `answers` decides what it is called on the wire.
This is plain ASGI, so streams pass through unchanged. Metrics are a hook.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import CutOffError
from loragen.web.routes import route_template
from loragen.web.tracing import name_request, trace_fields

_log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health/", "/metrics")

_SECURITY_HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""On every answer: no page of another site may embed one, and no browser guesses what it is."""


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request, filled in on its way; services add fields of their own.

    Attributes:
        route: Template of the path, or the gRPC method: a closed set, so that it can label metrics.
        path: The beginning of the path that the client sent; empty over gRPC.
        status: The status of the answer. It is a word over gRPC, and when the connection broke before an answer.
        code: Code of the error that ended it.
    """

    request_id: str
    protocol: Literal["http", "grpc"] = "http"
    method: str = ""
    route: str = "unmatched"
    path: str = ""
    status: int | str = "aborted"
    code: str | None = None
    duration_seconds: float = 0.0


def record_of(scope: Scope) -> Any:
    """The record of the request that `scope` belongs to, of the class that `RequestScope` was given."""
    return scope["state"]["record"]


def new_request_id(proposed: str | None) -> str:
    """The client's request id when it is harmless, else a new one."""
    return proposed if proposed and _REQUEST_ID.fullmatch(proposed) else uuid.uuid4().hex


def log_request(record: RequestRecord, *, failed: bool) -> None:
    """Write the canonical record of a request that is over."""
    level = "debug" if record.route.startswith(_QUIET) else "error" if failed else "info"
    fields = {name: value for name, value in asdict(record).items() if value not in (None, "")}
    getattr(_log, level)("request", **fields)


class RequestScope:
    """ASGI middleware; the first that a request meets.

    Args:
        app: What answers.
        answers: How errors are answered.
        finished: Takes each request's record when it is over.
        make_record: Class of the records.
    """

    def __init__(
        self, app: ASGIApp, answers: ErrorAnswers, finished: Callable[[Any], None], make_record: type[RequestRecord]
    ) -> None:
        self._app = app
        self._answers = answers
        self._finished = finished
        self._make_record = make_record

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id(Headers(scope=scope).get("x-request-id"))
        record = self._make_record(request_id=request_id, method=scope["method"], path=scope["path"][:200])
        scope.setdefault("state", {})["record"] = record
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                record.status = status = int(message["status"])
                name_request(record.method, lambda: route_template(scope) or record.route)
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        clear_contextvars()
        bind_contextvars(request_id=request_id, **trace_fields())
        try:
            await self._app(scope, receive, send_with_id)
        except (Exception, asyncio.CancelledError) as e:
            # The server cancels a request only when the time for the shutdown is over.
            error = CutOffError() if isinstance(e, asyncio.CancelledError) else self._answers.known(e)
            record.code = error.code
            if status != 0:
                # Half an answer is sent: only a broken connection can show the client that it failed. The server logs
                # the exception that it gets, so this one must not quote the client, as the original may.
                raise RuntimeError(f"the answer to request {request_id} was cut off") from None
            await self._answers.response(error, request_id, scope["path"])(scope, receive, send_with_id)
        finally:
            record.route = route_template(scope) or record.route
            record.duration_seconds = round(time.perf_counter() - started, 6)
            self._finished(record)
            log_request(record, failed=status >= 500)
            clear_contextvars()
