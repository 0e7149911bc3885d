"""The gate of gRPC that asks who calls, as `http.access_gate` is for HTTP: the same keys, the same rules.

A watch may stay open for days. It ends with its key: each message is sent only if the key is still good, and
`access.revocation` ends a silent one.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any
from urllib.parse import unquote

import grpc
from structlog.contextvars import bind_contextvars, get_contextvars

from cloud_service.access.authenticator import Authenticator, at_address
from cloud_service.access.caller import (
    Caller,
    calling,
    current_caller,
    set_caller,
    verify_channel,
    verify_device,
    verify_publishing,
    verify_rule,
)
from cloud_service.access.revocation import Revocation
from cloud_service.access.scopes import rule_of
from cloud_service.access.usage import UsageMeter
from cloud_service.limits import MAX_BUNDLES_SENT, MAX_WATCHES
from cloud_service.store.waiting import together

_OURS = "/loragen."


class GrpcAccess(grpc.aio.ServerInterceptor):
    """Interceptor of this package's methods; it leaves those of health and reflection alone.

    Args:
        authenticator: Knows the keys.
        usage: Counts calls.
        revocation: Ends streams whose key is not good any more.
    """

    def __init__(self, authenticator: Authenticator, usage: UsageMeter, revocation: Revocation) -> None:
        self._authenticator = authenticator
        self._usage = usage
        self._revocation = revocation

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        method: str = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        header = dict(handler_call_details.invocation_metadata).get("authorization")
        authorization = header if isinstance(header, str) else None
        codec = (handler.request_deserializer, handler.response_serializer)

        async def admit(request: Any, context: Any) -> Caller:
            caller = await self._authenticator.identify(authorization)
            if caller.key_id:
                bind_contextvars(key=caller.key_id, **_place(request))
            verify_rule(caller, rule_of(method))
            caller = at_address(caller, address_of(context.peer()), str(get_contextvars().get("request_id", "")))
            with calling(caller):
                _verify_message(request)
            return caller

        async def unary(request: Any, context: Any) -> Any:
            with together():
                caller = await admit(request, context)
                with calling(caller):
                    async with self._usage.call(caller):
                        if getattr(request, "include_bundle", False):
                            give_back = self._usage.take("bundles", MAX_BUNDLES_SENT)
                            # That is when the client has the answer, or is gone.
                            context.add_done_callback(lambda _context: give_back())
                        return await handler.unary_unary(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            # A call has a task of its own, and a generator must not reset what may be read from another task's context.
            set_caller(caller := await admit(request, context))
            async with self._usage.call(caller, counted=False):
                messages = handler.unary_stream(request, context)
            async with (
                self._usage.working("watches", MAX_WATCHES),
                aclosing(self._until_refused(messages, authorization)) as admitted,
            ):
                async for message in admitted:
                    yield message

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, *codec)
        return grpc.unary_unary_rpc_method_handler(unary, *codec)

    async def _until_refused(
        self, messages: AsyncGenerator[Any, None], authorization: str | None
    ) -> AsyncGenerator[Any, None]:
        async with aclosing(messages):
            while True:
                async with self._revocation.unless_refused():
                    message = await anext(messages, None)
                if message is None:
                    return
                if current_caller().key_id:
                    await self._authenticator.identify(authorization)
                yield message


def address_of(peer: str) -> str:
    """The address in a peer's name, as HTTP has it: `ipv6:%5B::1%5D:4242` is `::1`."""
    kind, _, place = unquote(peer).partition(":")
    return place.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else peer


def _place(request: Any) -> dict[str, str]:
    # For the log.
    return {
        name: str(getattr(request, field))[:253]
        for name, field in (("channel", "channel"), ("device", "device_id"))
        if field in request.DESCRIPTOR.fields_by_name
    }


def _verify_message(request: Any) -> None:
    """What a message names must be the caller's."""
    fields = request.DESCRIPTOR.fields_by_name
    if "channel" in fields:
        verify_channel(request.channel)
    if "device_id" in fields and request.device_id:
        verify_device(request.device_id)
    if "publish" in fields and request.HasField("publish"):
        verify_publishing(request.publish.channel)
