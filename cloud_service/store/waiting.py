"""How long a request may wait for the store: for each call, and for all its calls together.

A request makes several calls. If each of them could wait for the whole time, a store that hangs would hold the request
for their sum. So the gate of each protocol says that the calls of a request belong `together`, and each of them takes
what it waited from the next. Time that the request spends elsewhere, on the model for example, does not count. What
goes on behind the answer is `apart`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

_PROMPT_SECONDS = 0.1
"""A call that was answered within this did not wait: who looks for something very often must not use up its time."""


@dataclass(slots=True, eq=False)
class _Waited:
    seconds: float = 0.0


_waited: ContextVar[_Waited | None] = ContextVar("waited_for_the_store", default=None)


@contextmanager
def together() -> Iterator[None]:
    """All calls within the block, and in tasks that begin there, wait as long together as one of them may alone."""
    token = _waited.set(_Waited())
    try:
        yield
    finally:
        _waited.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """Calls in tasks that begin within the block have each a time of its own, whatever the block belongs to."""
    token = _waited.set(None)
    try:
        yield
    finally:
        _waited.reset(token)


@asynccontextmanager
async def waiting(most_seconds: float) -> AsyncIterator[float]:
    """One call of the store; gives the monotonic time at which it has to be over.

    Raises:
        TimeoutError: It took longer, alone or with the calls before it.
    """
    waited = _waited.get()
    started = time.monotonic()
    seconds = most_seconds if waited is None else max(0.0, most_seconds - waited.seconds)
    try:
        async with asyncio.timeout(seconds):
            yield started + seconds
    finally:
        took = time.monotonic() - started
        if waited is not None and took > _PROMPT_SECONDS:
            waited.seconds += took
