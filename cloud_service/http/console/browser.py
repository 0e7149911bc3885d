"""What a browser sends to the console: its paths, and the cookie that stands for an API key."""

from fastapi import Request, Response
from starlette.requests import cookie_parser

from cloud_service.access.sessions import SESSION_SECONDS

CONSOLE = "/console"

_COOKIE = "loragen-console"
_SECURE_COOKIE = "__Host-loragen-console"
"""Over HTTPS: browsers take a cookie of such a name from this host alone, not from another one of its domain."""


def is_console(path: str) -> bool:
    """Whether a path belongs to the console."""
    return path == CONSOLE or path.startswith(f"{CONSOLE}/")


def session_of(cookies: str) -> str:
    """The session in a header `Cookie`; empty without one."""
    found = cookie_parser(cookies)
    return found.get(_SECURE_COOKIE) or found.get(_COOKIE) or ""


def keep_session(request: Request, response: Response, session: str) -> None:
    """Let the browser keep a session. No script sees it, and no other site's page lets the browser send it."""
    # In front of the service, a proxy may end TLS; the origin is what the browser sees.
    origin = request.headers.get("origin", "")
    if request.url.scheme == "https" or origin.startswith("https://"):
        name, path, secure = _SECURE_COOKIE, "/", True
    else:
        name, path, secure = _COOKIE, CONSOLE, False
    response.set_cookie(name, session, max_age=SESSION_SECONDS, path=path, secure=secure, httponly=True, samesite="lax")


def forget_session(response: Response) -> None:
    """Let the browser forget its session."""
    response.delete_cookie(_SECURE_COOKIE, "/", secure=True, httponly=True, samesite="lax")
    response.delete_cookie(_COOKIE, CONSOLE, httponly=True, samesite="lax")
