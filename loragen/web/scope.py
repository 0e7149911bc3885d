"""The outermost layer of HTTP: request ids, one canonical record for each request, and the body of every error.

Every error of the layers below ends here, so that one place writes it; `answers` decides what it is called on the wire.
This is plain ASGI, so streams pass through unchanged. Metrics are a hook.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from loragen.web.error_answers import ErrorAnswers
from loragen.web.errors import CutOffError
from loragen.web.headers import find_header, put_headers
from loragen.web.request_targets import put_in_origin_form
from loragen.web.routes import route_template
from loragen.web.tracing import hide_query, name_request, trace_fields

_log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health/", "/metrics")
_UNMATCHED = "unmatched"

_logged_names: dict[type[Any], list[str]] = {}
"""Of each class of records, since every request is logged."""

_SECURITY_HEADERS = {
    b"content-security-policy": b"frame-ancestors 'none'",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
    b"x-content-type-options": b"nosniff",
}
"""On every answer: no page of another site may embed one, and no browser guesses what it is."""


@dataclass(slots=True, kw_only=True)
class RequestRecord:
    """One request, filled in on its way; services add fields of their own.

    Attributes:
        route: Template of the path, or the gRPC method: a closed set, so that it can label metrics. A gate that has
            looked for it says it, else it is looked for at the end.
        path: The beginning of the path that the client sent; empty over gRPC.
        status: The status of the answer. It is a word over gRPC, and when the connection broke before an answer.
        code: Code of the error that ended it.
        logged: What the log says of it besides.
    """

    request_id: str
    protocol: Literal["http", "grpc"] = "http"
    method: str = ""
    route: str = _UNMATCHED
    path: str = ""
    status: int | str = "aborted"
    code: str | None = None
    duration_seconds: float = 0.0
    logged: dict[str, Any] = field(default_factory=dict)


def record_of(scope: Scope) -> Any:
    """The record of the request that `scope` belongs to, of the class that `RequestScope` was given."""
    return scope["state"]["record"]


def new_request_id(proposed: str | None) -> str:
    """The client's request id when it is harmless, else a new one."""
    # A name and no secret, so it need not come from the system, which takes longer.
    return proposed if proposed and _REQUEST_ID.fullmatch(proposed) else f"{random.getrandbits(128):032x}"


def log_request(record: RequestRecord, *, failed: bool, log: Any = _log) -> None:
    """Write the canonical record of a request that is over.

    Args:
        record: The record.
        failed: Whether it is the service's fault.
        log: Where it is written.
    """
    level = "debug" if record.route.startswith(_QUIET) else "error" if failed else "info"
    if (names := _logged_names.get(type(record))) is None:
        names = _logged_names[type(record)] = [each.name for each in fields(record) if each.name != "logged"]
    values = {name: getattr(record, name) for name in names}
    known = {name: value for name, value in values.items() if value is not None and value != ""}
    getattr(log, level)("request", **(record.logged | known))


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
        # Bound once: a logger that is not looks for its configuration at every line, which takes as long as the line.
        self._log = _log.bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        put_in_origin_form(scope)
        if scope.get("query_string"):
            hide_query()
        request_id = new_request_id(find_header(scope, b"x-request-id"))
        record = self._make_record(request_id=request_id, method=scope["method"], path=scope["path"][:200])
        scope.setdefault("state", {})["record"] = record
        started = time.perf_counter()
        status = 0
        put = {b"x-request-id": request_id.encode("ascii")}

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                record.status = status = int(message["status"])
                name_request(record.method, lambda: _route_of(record, scope))
                put_headers(message, put, _SECURITY_HEADERS)
            await send(message)

        # A request that waited on its connection for the one before it begins with that one's values.
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
            record.route = _route_of(record, scope)
            record.duration_seconds = round(time.perf_counter() - started, 6)
            self._finished(record)
            log_request(record, failed=status >= 500, log=self._log)


def _route_of(record: RequestRecord, scope: Scope) -> str:
    return record.route if record.route != _UNMATCHED else route_template(scope) or _UNMATCHED
