"""Work for one client ends when the client hangs up."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, TypeVar

from starlette.requests import Request
from structlog.contextvars import bind_contextvars, get_contextvars

from loragen.web.errors import ClientGoneError

_T = TypeVar("_T")


async def unless_hung_up(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """The result of `work`, which is cancelled when the client closes its connection.

    What the work binds for the log is bound for the request.

    Raises:
        ClientGoneError: It did.
    """
    context = copy_context()
    working = asyncio.create_task(work, context=context)
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError("the client closed the connection before the answer was complete")
    finally:
        working.cancel()
        hung_up.cancel()
        await asyncio.gather(working, hung_up, return_exceptions=True)
        bind_contextvars(**context.run(get_contextvars))


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
