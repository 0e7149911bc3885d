"""The gate that a request's head passes: bounded in size, with one length of the body, and meant for this service.

A proxy may take the length that a request announces, and this service the chunks that it is sent in. What one takes for
the end of a body is then the next request to the other, perhaps with another's key before it. So a request with both is
refused, and its connection closed (RFC 9112, section 6.1).

What the rule against foreign hosts is for, and what it says, is in `hosts`. Pages of other sites get nothing, unless
the operator names them. A question about the server as a whole, `OPTIONS *`, goes no further.
"""

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from loragen.web.errors import HeadTooLargeError, HostError, HttpSyntaxError, OriginError
from loragen.web.headers import find_header
from loragen.web.hosts import AllowedHosts
from loragen.web.request_targets import SERVER_TARGET

_MAX_HEAD_BYTES = 16 * 1024
"""As uvicorn bounds a head that comes in pieces. One that comes in one piece may be longer there."""

_MOST_SEEN = 64
"""Hosts that are remembered as this service's own: most requests name the same one."""


class HeadGate:
    """ASGI middleware.

    Args:
        app: What comes behind the gate.
        hosts: Whom requests may be addressed to, and which pages may send them.
        origins: Whose pages may send them besides; `*` for all.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(origins)
        self._seen: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._verify(scope)
            if scope["path"] == SERVER_TARGET and scope["method"] == "OPTIONS":
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
        await self._app(scope, receive, send)

    def _verify(self, scope: Scope) -> None:
        target = len(scope.get("raw_path") or b"") + len(scope.get("query_string", b""))
        size = target + sum(len(name) + len(value) + 4 for name, value in scope["headers"])  # ": " and a line's end
        if size > _MAX_HEAD_BYTES:
            raise HeadTooLargeError(f"expected a head of at most {_MAX_HEAD_BYTES} bytes, found {size}")
        if find_header(scope, b"transfer-encoding") is not None and (
            find_header(scope, b"content-length") is not None or scope.get("http_version") == "1.0"
        ):
            raise HttpSyntaxError
        # A browser always says the host, so what does not, such as a probe of HTTP/1.0, cannot be led here by a page.
        host, origin = find_header(scope, b"host"), find_header(scope, b"origin")
        if host is not None and host not in self._seen:
            self._verify_host(host)
        is_known = origin is None or not self._origins.isdisjoint((origin, "*"))
        if origin is not None and not is_known and not self._hosts.admits(origin, host, scope["scheme"] == "https"):
            raise OriginError(
                f"expected no Origin, or that of the host that is asked, found {origin[:80]!a}",
                "pages of other sites may not use this service; the operator can name hosts of pages with the variable "
                "..._ALLOWED_HOSTS",
            )

    def _verify_host(self, host: str) -> None:
        if not self._hosts.includes(host):
            raise HostError(
                f"expected a Host of this service, found {host[:80]!a}",
                "address it by one of its own names; the operator can set more with the variable ..._ALLOWED_HOSTS",
            )
        if len(self._seen) < _MOST_SEEN:
            self._seen.add(host)
