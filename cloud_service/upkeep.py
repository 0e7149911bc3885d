"""Upkeep: what a process does by itself, again and again, beside answering requests."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cloud_service.errors import CloudError
from loragen.web.log_limit import LogLimit
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)

_REMIND_SECONDS = 60.0
"""Between two lines of the log about the same failure, which may come back every second."""


async def repeat(name: str, interval_seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do something at an interval, for ever. A failure does not end it; the log has its beginning and its end."""
    limit, failures, is_logged = LogLimit(_REMIND_SECONDS), 0, False
    while True:
        try:
            await work()
        except Exception as e:
            failures += 1
            kind = e.code if isinstance(e, CloudError) else type(e).__name__
            if limit.pass_line(kind) is not None:
                is_logged = True
                _log_failure(name, e, failures)
        else:
            if is_logged:
                _log.info("upkeep_recovered", work=name, failures=failures)
            failures, is_logged = 0, False
        # redis-py sends with `asyncio.wait_for`, which loses, in Python 3.11, a cancellation that comes when it has
        # just sent. Who ended this would wait for ever.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(interval_seconds)


def _log_failure(name: str, error: Exception, failures: int) -> None:
    if isinstance(error, CloudError):
        _log.warning("upkeep_failed", work=name, code=error.code, reason=str(error), failures=failures)
    else:
        _log.error("upkeep_crashed", work=name, crash=describe_crash(error), failures=failures)
