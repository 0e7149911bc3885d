"""The outermost layer of HTTP: request ids, the canonical log record, metrics, and the body of every error.

Every error of every layer below ends here, so that there is one body and one place that writes it. What an error is
called on the wire is decided by `status`; what arrives as a framework's exception is translated by
`translation`.
"""

import re
import time
import uuid
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from cloud_service.errors import CloudError, MethodError, RangeError, UnavailableError
from cloud_service.http.status import http_status
from cloud_service.telemetry import Metrics
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = ("/health/", "/metrics")


def new_request_id(proposed: str | None) -> str:
    """The client's request id when it is harmless, else a new one."""
    return proposed if proposed and _REQUEST_ID.fullmatch(proposed) else uuid.uuid4().hex


class RequestScope:
    """ASGI middleware; the first that a request meets."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id(Headers(scope=scope).get("x-request-id"))
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        clear_contextvars()
        bind_contextvars(request_id=request_id)
        code = ""
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as e:
            error = e if isinstance(e, CloudError) else _unexpected(e)
            code = error.code
            if status != 0:  # half an answer is out: only breaking the connection tells the client
                raise
            await error_response(error, request_id)(scope, receive, send_with_id)
        finally:
            self._record(scope, status, code, time.perf_counter() - started)
            clear_contextvars()

    def _record(self, scope: Scope, status: int, code: str, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request_done("http", route, code or str(status), seconds)
        level = "error" if status >= 500 else "debug" if route.startswith(_QUIET) else "info"
        getattr(_log, level)(
            "request",
            protocol="http",
            method=scope["method"],
            path=scope["path"][:200],
            status=status or "aborted",
            milliseconds=round(seconds * 1000, 2),
            **({"code": code} if code else {}),
        )


def error_response(error: CloudError, request_id: str) -> JSONResponse:
    """The one form of an error over HTTP."""
    headers = {"cache-control": "no-store"}
    if isinstance(error, UnavailableError):
        headers["retry-after"] = str(error.retry_after_seconds)
    if isinstance(error, RangeError):
        headers["content-range"] = f"bytes */{error.size}"
    if isinstance(error, MethodError):
        headers["allow"] = error.allowed
    body = {"error": {"code": error.code, "message": str(error), "hint": error.hint, "request_id": request_id}}
    return JSONResponse(body, http_status(error), headers)


def _unexpected(error: Exception) -> CloudError:
    _log.error("unexpected_error", crash=describe_crash(error))
    return CloudError(HTTPStatus.INTERNAL_SERVER_ERROR.phrase, "report the request id to the operator")
