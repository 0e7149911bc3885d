"""Errors as pages: whoever looks at the console is a person, and one who is not signed in is asked to."""

from http import HTTPStatus
from urllib.parse import quote, urlencode

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_service.errors import UnauthenticatedError
from cloud_service.http.console.browser import CONSOLE, is_console
from cloud_service.http.console.pages import Pages
from cloud_service.http.status import ERROR_ANSWERS
from loragen.web.scope import record_of

_LONGEST_ADDRESS = 2_000


class ConsoleErrors:
    """ASGI middleware: answers with a page where a request to the console ends in an error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._pages = Pages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_console(scope["path"]):
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except Exception as e:
            if has_begun:
                raise
            error = ERROR_ANSWERS.known(e)
            record = record_of(scope)
            record.code = error.code
            if isinstance(error, UnauthenticatedError) and scope["method"] in ("GET", "HEAD"):
                await RedirectResponse(_sign_in_address(scope), HTTPStatus.SEE_OTHER)(scope, receive, send)
                return
            values = {"request_id": record.request_id, "signed_out": isinstance(error, UnauthenticatedError)}
            await self._pages.page_of(scope, "error.html", values, error=error)(scope, receive, send)


def _sign_in_address(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    back_to = quote(scope["path"]) + (f"?{query}" if query else "")
    if back_to == CONSOLE or len(back_to) > _LONGEST_ADDRESS:
        return f"{CONSOLE}/sign-in"
    return f"{CONSOLE}/sign-in?{urlencode({'next': back_to})}"
