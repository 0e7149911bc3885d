"""How a service answers with an error: a status, and `{"error": {"code", "message", "hint", "request_id", ...}}`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from loragen.web.error_reference import documentation_url
from loragen.web.errors import FrontError, ServiceError
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)


class ErrorDetail(BaseModel):
    """What went wrong, for machines and for people."""

    code: str
    message: str
    hint: str
    request_id: str
    documentation_url: str = Field(description="What the code means: a page of the service, relative to its address.")


class ErrorBody(BaseModel):
    """The body of every error."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class ErrorAnswers:
    """How one service answers with errors.

    Attributes:
        statuses: The HTTP status of each of the service's errors.
        unexpected: What a client hears of an exception that is not in that table.
        more_fields: What the body says besides, given the error and its status.
        text_under: Beginnings of paths whose clients expect a text in `error`: there the message is that text, and the
            other fields stand beside it.
    """

    statuses: Mapping[type[Any], int]
    unexpected: ServiceError
    more_fields: Callable[[ServiceError, int], Mapping[str, str | None]] = lambda error, status: {}
    text_under: tuple[str, ...] = ()

    def known(self, error: Exception) -> ServiceError:
        """The error itself when the service raised it on purpose; else it is logged, and the client hears little."""
        if isinstance(error, ServiceError) and (isinstance(error, FrontError) or type(error) in self.statuses):
            return error
        _log.error("unexpected_error", crash=describe_crash(error))
        return self.unexpected

    def status(self, error: ServiceError) -> int:
        """The HTTP status of a known error, and of the unexpected."""
        if isinstance(error, FrontError):
            return error.status
        return self.statuses.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)

    def body(self, error: ServiceError, request_id: str) -> dict[str, Any]:
        """The body of a known error."""
        fields = error_fields(error, request_id)
        return {"error": {**fields, **self.more_fields(error, self.status(error))}}

    def response(self, error: ServiceError, request_id: str, path: str = "") -> JSONResponse:
        """The whole answer to a request for `path`."""
        headers = {"cache-control": "no-store", **error.headers}
        body = self.body(error, request_id)
        if path.startswith(self.text_under):
            fields = body["error"]
            body = {"error": fields.pop("message"), **fields}
        return JSONResponse(body, self.status(error), headers)


def error_fields(error: ServiceError, request_id: str) -> dict[str, str]:
    """What the body of every error says."""
    return {
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
        "request_id": request_id,
        "documentation_url": documentation_url(error.code),
    }
