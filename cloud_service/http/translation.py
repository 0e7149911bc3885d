"""Translation of what frameworks raise (pydantic, FastAPI, Starlette) into this package's errors.

Messages name the field, what was expected and what was found, by length or type: they never quote content.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cloud_service.errors import (
    CloudError,
    InvalidRequestError,
    MalformedBodyError,
    MediaTypeError,
    MethodError,
    NotFoundError,
    RequestError,
)

_MAX_FAULTS = 5
"""Faults told at once; whoever has more will send again anyway."""


def install_translation(app: FastAPI) -> None:
    """Let the framework's own exceptions leave the application as errors of this package."""

    async def on_invalid(request: Request, error: Exception) -> NoReturn:
        assert isinstance(error, RequestValidationError)
        raise from_validation(error.errors()) from error

    async def on_http(request: Request, error: Exception) -> NoReturn:
        assert isinstance(error, HTTPException)
        raise _from_http(error) from error

    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


async def verify_json(request: Request) -> None:
    """Dependency of every route with a body.

    Raises:
        MediaTypeError: The body is announced as something else than JSON in UTF-8.
    """
    content_type = request.headers.get("content-type", "")
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((value for value in parameters if value.startswith("charset=")), "charset=utf-8")
    if media_type != "application/json" or charset.removeprefix("charset=").strip('"') != "utf-8":
        raise MediaTypeError(
            f"expected content type application/json, found {ascii(content_type[:80]) if content_type else 'none'}",
            "send the body as JSON in UTF-8, with the header Content-Type: application/json",
        )


def from_validation(faults: Sequence[Any]) -> RequestError:
    """One error that tells pydantic's first faults."""
    first: Mapping[str, Any] = faults[0]
    if first["type"] == "json_invalid":
        return MalformedBodyError(
            f"expected JSON, found a fault at character {first['loc'][-1]}: {first.get('ctx', {}).get('error', '')}",
            "send one JSON object in UTF-8",
        )
    told = [_describe(fault) for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        told.append(f"and {len(faults) - _MAX_FAULTS} more")
    return InvalidRequestError("; ".join(told), "the form of requests, and all limits, are at /docs")


def _describe(fault: Mapping[str, Any]) -> str:
    # `loc` may hold keys that the client made up; ascii() keeps their control characters out.
    place = ".".join(ascii(part)[1:-1][:64] if isinstance(part, str) else str(part) for part in fault["loc"])
    found = fault.get("input")
    suffix = f", found {len(found)}" if fault["type"] == "string_too_long" and isinstance(found, str) else ""
    return f"{place.removeprefix('body.')}: {fault['msg'].removeprefix('Value error, ')}{suffix}"


def _from_http(error: HTTPException) -> CloudError:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return NotFoundError("no such resource", "the paths are at /docs")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodError((error.headers or {}).get("allow") or (error.headers or {}).get("Allow", ""))
    if isinstance(error.__cause__, UnicodeDecodeError):
        fault = error.__cause__
        return MalformedBodyError(
            f"expected UTF-8, found {fault.reason} at byte {fault.start}", "encode the body as UTF-8"
        )
    if isinstance(error.__cause__, RecursionError):
        return MalformedBodyError("expected JSON of reasonable depth, found deeper nesting")
    if isinstance(error.__cause__, ValueError):  # of all that is JSON, Python refuses only numbers of too many digits
        return MalformedBodyError("expected JSON with numbers of reasonable length, found a longer one")
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return RequestError(str(error.detail))
    return CloudError(str(error.detail))
