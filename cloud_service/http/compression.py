"""Compressed answers, for clients that take gzip.

Only where it pays and tells nothing: long text that has no secret in it and no entity tag. Bundles, recipes and banks
are dense; an entity tag names the bytes as they are, which ranges and devices rely on; and the length of a compressed
answer tells what in it is alike, so keys, sessions and the console's pages are sent as they are.
"""

from collections.abc import Collection

from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud_service.http.artifact_routes import OCTETS
from loragen.web.headers import find_header
from loragen.web.scope import record_of

COMPRESSED_CALLS = frozenset(
    {
        "POST /generate-lora",
        "GET /audit",
        "GET /channels",
        "GET /channels/{channel}/diff",
        "GET /channels/{channel}/events",
        "GET /channels/{channel}/rollouts",
        "GET /channels/{channel}/versions",
        "GET /devices",
        "GET /generators",
        "GET /jobs",
        "GET /jobs/{job_id}",
        "GET /metrics",
        "GET /openapi.json",
    }
)
"""By `METHOD /path/{template}`."""

_LEAST_BYTES = 2_048
"""A shorter answer takes one packet or two in any case."""

_LEVEL = 6


class Compression:
    """ASGI middleware; the gate before it has found the route.

    Args:
        app: What answers.
        calls: What may be compressed.
    """

    def __init__(self, app: ASGIApp, calls: Collection[str] = COMPRESSED_CALLS) -> None:
        self._app = app
        self._calls = calls
        dense = (*DEFAULT_EXCLUDED_CONTENT_TYPES, OCTETS)
        self._compressing = GZipMiddleware(app, _LEAST_BYTES, _LEVEL, exclude_content_types=dense)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and takes_gzip(find_header(scope, b"accept-encoding")):
            # `Vary` is set on what is compressed alone: anything else may be given to everybody.
            app = self._compressing if f"{scope['method']} {record_of(scope).route}" in self._calls else app
        await app(scope, receive, send)


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether the header `Accept-Encoding` names gzip and does not rule it out."""
    for part in (accept_encoding or "").lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
