"""The gate that asks who calls, before the body of a request is read.

What a call needs is decided by `access.scopes`, who the caller is by `access.authenticator`. Here stands what follows
from a path: a tenant's key gets 404 for the channels and bundles of others, as for those that are not there.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from cloud_service.access.authenticator import Authenticator, at_address
from cloud_service.access.caller import Caller, calling, verify_channel, verify_device, verify_rule
from cloud_service.access.ownership import Ownership
from cloud_service.access.scopes import rule_of
from cloud_service.access.sessions import Sessions
from cloud_service.access.usage import UsageMeter
from cloud_service.artifacts import unknown_bundle, unknown_recipe
from cloud_service.http.console.browser import is_console, session_of
from cloud_service.limits import MAX_IMPORTS
from cloud_service.store.waiting import together
from loragen.contract.polling import DEVICE_HEADER
from loragen.web.headers import find_header
from loragen.web.routes import find_route
from loragen.web.scope import record_of

_IMPORT = "POST /bundles"
_DEVICE = DEVICE_HEADER.lower().encode("ascii")


class AccessGate:
    """ASGI middleware.

    Args:
        app: What comes behind the gate.
        authenticator: Knows the keys.
        sessions: Knows who is signed in to the console.
        ownership: Knows whose bundles are.
        usage: Counts calls.
        open_calls: Calls that need no key here, besides those that never do.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        sessions: Sessions,
        ownership: Ownership,
        usage: UsageMeter,
        open_calls: Collection[str] = (),
    ) -> None:
        self._app = app
        self._usage = usage
        self._ownership = ownership
        self._authenticator = authenticator
        self._sessions = sessions
        self._open_calls = frozenset(open_calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        template, parameters = find_route(scope)
        record = record_of(scope)
        if template is not None:
            record.route = template
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        call = f"{method} {template}"
        rule = rule_of(call, self._open_calls)
        if rule.is_open:
            await self._app(scope, receive, send)
            return
        with together():
            caller = await self._identify(scope)
            client = scope.get("client")
            caller = at_address(caller, client[0] if client else "", record.request_id)
            if caller.key_id:
                bind_contextvars(key=caller.key_id)
            scope["state"]["caller"] = caller
            with calling(caller):
                # A path or a method that does not exist is left to the application, which says so.
                if template is not None:
                    verify_rule(caller, rule)
                if (channel := parameters.get("channel")) is not None:
                    verify_channel(channel)
                if (device := find_header(scope, _DEVICE)) is not None:
                    verify_device(device)
                await self._verify_artifact(parameters)
                if not caller.key_id and call != _IMPORT:  # without a key there is nothing else to count
                    await self._app(scope, receive, send)
                    return
                async with self._usage.call(caller) as left, self._place(call):
                    await self._app(scope, receive, _sent_privately(send, left) if caller.key_id else send)

    def _place(self, call: str) -> AbstractAsyncContextManager[None]:
        # Before the body is read: each of these has many megabytes of it.
        return self._usage.working("imports", MAX_IMPORTS) if call == _IMPORT else nullcontext()

    async def _identify(self, scope: Scope) -> Caller:
        authorization = find_header(scope, b"authorization")
        # Pages of other sites let a browser send its cookies, so these are good for the console alone, which verifies
        # whose page sends a form.
        may_have_one = authorization is None and is_console(scope["path"])
        if may_have_one and (session := session_of(find_header(scope, b"cookie") or "")):
            return await self._sessions.identify(session)
        return await self._authenticator.identify(authorization)

    async def _verify_artifact(self, parameters: Mapping[str, Any]) -> None:
        bundle_id, recipe_id = parameters.get("bundle_id"), parameters.get("recipe_id")
        if bundle_id is not None and not await self._ownership.sees(bundle_id):
            raise unknown_bundle(bundle_id)
        if recipe_id is not None and not await self._ownership.sees(recipe_id):
            raise unknown_recipe(recipe_id)


def _sent_privately(send: Send, more_headers: Mapping[str, str]) -> Send:
    async def send_private(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(more_headers)
            control = headers.get("cache-control", "")
            if control.startswith("public"):
                # What needs a key must not come out of a cache that does not ask for one.
                headers["cache-control"] = control.replace("public", "private", 1)
        await send(message)

    return send_private
