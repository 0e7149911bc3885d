"""The gate of gRPC that asks who calls, as `http.access_gate` is for HTTP: the same keys, the same rules.

A watch may stay open for days. So its key is looked up again at an interval, and it ends when the key does.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from structlog.contextvars import bind_contextvars

from cloud_service.access.authenticator import Authenticator, at_address
from cloud_service.access.caller import (
    Caller,
    calling,
    set_caller,
    verify_channel,
    verify_device,
    verify_publishing,
    verify_rule,
)
from cloud_service.access.scopes import rule_of
from cloud_service.access.usage import Usage

_OURS = "/loragen."

_AGAIN_SECONDS = 60.0
"""Between two look-ups of the key of an open stream. It carries nothing but the numbers of versions."""


class GrpcAccess(grpc.aio.ServerInterceptor):
    """Interceptor of this package's methods; it leaves those of health and reflection alone.

    Args:
        authenticator: Knows the keys.
        usage: Counts calls.
        again_seconds: Between two look-ups of the key of an open stream.
    """

    def __init__(self, authenticator: Authenticator, usage: Usage, again_seconds: float = _AGAIN_SECONDS) -> None:
        self._authenticator = authenticator
        self._usage = usage
        self._again_seconds = again_seconds

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
            caller = at_address(caller, str(context.peer()), "")
            with calling(caller):
                _verify_message(request)
            return caller

        async def unary(request: Any, context: Any) -> Any:
            caller = await admit(request, context)
            with calling(caller):
                async with self._usage.call(caller):
                    return await handler.unary_unary(request, context)

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            # A call has a task of its own, and a generator must not reset what may be read from another task's context.
            set_caller(caller := await admit(request, context))
            async with self._usage.call(caller, counted=False):
                messages = handler.unary_stream(request, context)
            async for message in self._until_refused(messages, authorization) if caller.key_id else messages:
                yield message

        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, *codec)
        return grpc.unary_unary_rpc_method_handler(unary, *codec)

    async def _until_refused(self, messages: AsyncIterator[Any], authorization: str | None) -> AsyncIterator[Any]:
        waiting: asyncio.Future[Any] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(messages))
                done, _ = await asyncio.wait({waiting}, timeout=self._again_seconds)
                if not done:
                    await self._authenticator.identify(authorization)
                    continue
                try:
                    message = waiting.result()
                except StopAsyncIteration:
                    return
                waiting = None
                yield message
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)


def _place(request: Any) -> dict[str, str]:
    # For the log. What the handler of a stream says there itself is lost, since each step of it is a task.
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
