"""Around every request: its id, the limit of its body, its record, and an answer when something unforeseen fails.

Plain ASGI, so that streams pass through untouched.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge_runtime.errors import BodyTooLargeError, EdgeError, MediaTypeError, http_status
from edge_runtime.serving.openai import error_body
from edge_runtime.telemetry import RequestRecord

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
REQUEST_ID_HEADER = "X-Request-ID"


def record_of(scope: Scope) -> RequestRecord:
    """The record of the request that `scope` belongs to."""
    record: RequestRecord = scope["state"]["record"]
    return record


def error_response(error: EdgeError, record: RequestRecord) -> JSONResponse:
    """The answer to a request that ended in `error`, and its trace in the record."""
    status = http_status(error)
    record.error = error.code
    retry_after = getattr(error, "retry_after_seconds", None)
    headers = {} if retry_after is None else {"Retry-After": str(int(retry_after))}
    return JSONResponse(error_body(error.code, str(error), error.hint, record.request_id, status), status, headers)


class RefusedBody(HTTPException):
    """Carries an error out of the reading of a body: other exceptions the framework would turn into a plain 400."""

    def __init__(self, reason: EdgeError) -> None:
        super().__init__(http_status(reason), str(reason))
        self.reason = reason


class RequestScope:
    """ASGI middleware.

    Args:
        app: What answers.
        finished: Takes each request's record when it is over.
        max_body_bytes: Longest body; counted while it comes, whatever its header says.
    """

    def __init__(self, app: ASGIApp, finished: Callable[[RequestRecord], None], max_body_bytes: int) -> None:
        self._app = app
        self._finished = finished
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        sent_id = headers.get(b"x-request-id", b"").decode("latin-1")
        record = RequestRecord(
            request_id=sent_id if _REQUEST_ID.fullmatch(sent_id) else uuid.uuid4().hex, method=scope["method"]
        )
        scope.setdefault("state", {})["record"] = record
        started = time.monotonic()

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (REQUEST_ID_HEADER.lower().encode(), record.request_id.encode()),
                ]
            await send(message)

        try:
            self._verify_headers(scope["method"], headers)
            await self._app(scope, self._limited(receive), counted_send)
        except EdgeError as error:
            await error_response(error, record)(scope, receive, counted_send)
        except Exception:
            _LOG.exception("request %s failed", record.request_id)
            if record.status == 0:
                failure = EdgeError("internal error", "the device's log says why", code="internal_error")
                await error_response(failure, record)(scope, receive, counted_send)
            else:
                record.error = "internal_error"
                raise
        finally:
            record.route = getattr(scope.get("route"), "path", "unknown")
            record.duration_seconds = round(time.monotonic() - started, 6)
            self._finished(record)

    def _verify_headers(self, method: str, headers: dict[bytes, bytes]) -> None:
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large(f"{int(declared)}")
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if method == "POST" and media_type != b"application/json":
            raise MediaTypeError(
                f"expected a body of type application/json, found {media_type[:80].decode('latin-1')!r}"
            )

    def _limited(self, receive: Receive) -> Receive:
        received = 0

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body_bytes:
                raise RefusedBody(self._too_large(f"at least {received}"))
            return message

        return limited_receive

    def _too_large(self, found: str) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the body has {found} bytes, at most {self._max_body_bytes} are taken", "send a shorter prompt"
        )
