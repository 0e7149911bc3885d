"""Upkeep: what a process does by itself, again and again, beside answering requests."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from cloud_service.errors import CloudError
from loragen.web.logs import describe_crash

_log = structlog.get_logger(__name__)


async def repeat(name: str, interval_seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Do something at an interval, for ever. A failure is logged, and does not end it."""
    while True:
        try:
            await work()
        except CloudError as e:
            _log.warning("upkeep_failed", work=name, code=e.code, reason=str(e))
        except Exception as e:
            _log.error("upkeep_crashed", work=name, crash=describe_crash(e))
        await asyncio.sleep(interval_seconds)
