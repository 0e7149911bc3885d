"""The gate that a request passes with the device's API key, where the operator has set one.

Probes stay open, which say nothing but whether the device lives and is ready, and so does the page of errors, which is
the same everywhere. For the device's page, a browser asks for the key as a password.
"""

import base64
import hmac
from typing import Literal

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from edge_runtime.errors import UnauthorizedError
from loragen.web.error_reference import ERROR_PAGE

_OPEN = ("/health/live", "/health/ready", ERROR_PAGE)
_PAGE = "/"


class KeyGate:
    """ASGI middleware.

    Args:
        app: What comes behind the gate.
        key: What requests say behind `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, key: SecretStr) -> None:
        self._app = app
        self._expected = key.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in _OPEN:
            self._verify(Headers(scope=scope).get("authorization", ""), "Basic" if scope["path"] == _PAGE else "Bearer")
        await self._app(scope, receive, send)

    def _verify(self, authorization: str, asked: Literal["Basic", "Bearer"]) -> None:
        scheme, _, token = authorization.partition(" ")
        if asked == "Basic" and scheme.lower() == "basic":
            scheme, token = "bearer", _password(token)
        # A comparison that takes as long for any text tells nothing of the key.
        is_right = hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._expected)
        if scheme.lower() != "bearer" or not is_right:
            raise UnauthorizedError(
                "expected the API key of this device",
                "send it as Authorization: Bearer KEY; clients call it api_key",
                scheme=asked,
            )


def _password(credentials: str) -> str:
    """The password, whatever the user's name; empty when there is none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:
        return ""
