"""Translation of what frameworks raise (pydantic, FastAPI, Starlette) into errors of the service.

Messages name the field, what was expected and what was found, by length or type: they never quote content.
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from loragen.contract.errors import ContractError
from loragen.contract.strict_json import load_strict_json
from loragen.web.errors import JsonError, MediaTypeError, MethodError, PathError, ServiceError
from loragen.web.routes import allowed_methods

_FORM = re.compile(r"(function-\w+|literal|list|dict|tuple|set|nullable|tagged-union)\[|constrained-\w+$")
"""What pydantic calls a form that a field may have, among the parts of a place. It names code and no field."""

_PLAIN = {
    "extra_forbidden": "expected no such field",
    "model_attributes_type": "expected an object",
}
"""What pydantic says in words of Python."""

_MAX_FAULTS = 5
"""Faults in one message. A client with more of them has to send its request again anyway."""


def install_translation(app: FastAPI, *, invalid: type[ServiceError], malformed: type[ServiceError]) -> None:
    """Let the framework's own exceptions leave the application as errors of the service.

    Args:
        app: Whose exceptions.
        invalid: Error for a request that does not have the form of its schema.
        malformed: Error for a body that is not JSON in UTF-8.
    """

    async def on_invalid(request: Request, error: Exception) -> NoReturn:
        assert isinstance(error, RequestValidationError)
        faults = error.errors()
        if faults[0]["type"] == "json_invalid":
            place, reason = faults[0]["loc"][-1], faults[0].get("ctx", {}).get("error", "")
            message = f"expected JSON, found a fault at character {place}: {reason}"
            raise malformed(message, "send one JSON object in UTF-8") from error
        message, hint = describe_faults(faults), "the form of requests, and all limits, are at /docs"
        raise invalid(message, hint, field=field_at_fault(faults)) from error

    async def on_http(request: Request, error: Exception) -> NoReturn:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.NOT_FOUND:
            raise PathError("no such resource", "the paths are at /docs") from error
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            raise MethodError(allowed_methods(request.scope)) from error
        if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise malformed(*_describe_unreadable(error)) from error
        raise error

    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)


async def verify_json(request: Request) -> None:
    """Dependency of every route with a body.

    Raises:
        MediaTypeError: The body is announced as something else than JSON in UTF-8.
        JsonError: It is JSON in another encoding, or none that `load_strict_json` takes.
    """
    content_type = request.headers.get("content-type", "")
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charset = next((value for value in parameters if value.startswith("charset=")), "charset=utf-8")
    if media_type != "application/json" or charset.removeprefix("charset=").strip('"') not in ("utf-8", "utf8"):
        raise MediaTypeError(
            f"expected content type application/json, found {ascii(content_type[:80]) if content_type else 'none'}",
            "send the body as JSON in UTF-8, with the header Content-Type: application/json",
        )
    body = await request.body()
    # Python's reader takes UTF-16 and UTF-32 too.
    if (encoding := json.detect_encoding(body)) not in ("utf-8", "utf-8-sig"):
        raise JsonError(f"expected UTF-8, found {encoding}", "encode the body as UTF-8")
    if body:
        try:
            load_strict_json(body)
        except ContractError as e:
            raise JsonError(str(e), e.hint) from e


def describe_faults(faults: Sequence[Any]) -> str:
    """Pydantic's first faults as one line.

    A field that may have several forms gets a fault for each of them. The form whose type fits says what is wrong. The
    other forms only say that the type is different, so they are left out.
    """
    fitting = {fault["loc"][:2] for fault in faults if not fault["type"].endswith("_type")}
    telling = [fault for fault in faults if not (fault["type"].endswith("_type") and fault["loc"][:2] in fitting)]
    texts = [_describe(fault) for fault in telling[:_MAX_FAULTS]]
    if len(telling) > _MAX_FAULTS:
        texts.append(f"and {len(telling) - _MAX_FAULTS} more")
    return "; ".join(texts)


def field_at_fault(faults: Sequence[Any]) -> str | None:
    """The field of the body that all of pydantic's faults are in; None where there are several."""
    places = [fault["loc"] for fault in faults]
    fields = {ascii(place[1]).strip("'")[:64] for place in places if place[0] == "body" and len(place) > 1}
    return fields.pop() if len(fields) == 1 else None


def _describe(fault: Mapping[str, Any]) -> str:
    # `loc` may hold keys that the client made up; ascii() keeps their control characters out.
    parts = [part for part in fault["loc"] if not (isinstance(part, str) and _FORM.match(part))]
    place = ".".join(ascii(part)[1:-1][:64] if isinstance(part, str) else str(part) for part in parts)
    found = fault.get("input")
    suffix = f", found {len(found)}" if fault["type"] == "string_too_long" and isinstance(found, str) else ""
    message = _PLAIN.get(fault["type"]) or f"{fault['msg'].removeprefix('Value error, ')}{suffix}"
    place = place.removeprefix("body.")
    # What is checked of a whole body, or of a part that names itself, says where the fault is.
    is_named = place == "body" and fault["type"] == "value_error"
    return message if not place or is_named or message.startswith(f"{place}: ") else f"{place}: {message}"


def _describe_unreadable(error: HTTPException) -> tuple[str, str]:
    """Message and hint for a body that could not be parsed; the framework only says that there was one."""
    match error.__cause__:
        case UnicodeDecodeError() as fault:
            return f"expected UTF-8, found {fault.reason} at byte {fault.start}", "encode the body as UTF-8"
        case RecursionError():
            return "expected JSON of reasonable depth, found deeper nesting", ""
        case ValueError():  # of all that is JSON, Python refuses only numbers of too many digits
            return "expected JSON with numbers of reasonable length, found a longer one", ""
    return str(error.detail), ""
