"""Signing in to the console and out of it."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse
from structlog.contextvars import bind_contextvars

from cloud_service.access.caller import Caller
from cloud_service.access.sessions import Sessions
from cloud_service.access.usage import UsageMeter
from cloud_service.errors import CloudError, ForbiddenError
from cloud_service.http.console.browser import CONSOLE, forget_session, is_console, keep_session, session_of
from cloud_service.http.console.forms import read_form
from cloud_service.http.console.pages import Pages, first_page

_SIGN_IN = f"{CONSOLE}/sign-in"


def session_pages(pages: Pages, sessions: Sessions, usage: UsageMeter) -> APIRouter:
    """`/console/sign-in`, `/console/sign-out`, and the files that every page needs."""
    router = APIRouter(prefix=CONSOLE, include_in_schema=False)

    @router.get("/files/{name}")
    async def file(name: str) -> Response:
        return pages.file(name)

    @router.get("/sign-in")
    async def form(request: Request, next: Annotated[str, Query(max_length=4_000)] = "") -> Response:  # noqa: A002
        return pages.page(request, "sign_in.html", {"next": next, "out": False})

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        fields = await read_form(request)
        back_to = fields.get("next", "")
        try:
            caller = await sessions.identify_key(fields.get("key", ""))
            async with usage.call(caller):
                session = await sessions.begin(_verified(caller))
        except CloudError as error:
            return pages.page(request, "sign_in.html", {"next": back_to, "out": False}, error=error)
        bind_contextvars(key=caller.key_id)
        response = RedirectResponse(_verified_path(back_to) or first_page(caller) or CONSOLE, HTTPStatus.SEE_OTHER)
        if session:
            keep_session(request, response, session)
        return response

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        await read_form(request)
        await sessions.end(session_of(request.headers.get("cookie", "")))
        response = pages.page(request, "sign_in.html", {"next": "", "out": True})
        forget_session(response)
        return response

    return router


def _verified(caller: Caller) -> Caller:
    if first_page(caller) is None:
        raise ForbiddenError(
            f"a key with the scope {' and '.join(sorted(caller.scopes))} opens no page here",
            "sign in with one that has read, generate or admin",
        )
    return caller


def _verified_path(path: str) -> str:
    """A path within the console; empty for anything else, such as another site."""
    return path if is_console(path.partition("?")[0]) and not path.startswith(_SIGN_IN) else ""
