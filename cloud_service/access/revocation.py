"""Ends what goes on for long, such as refinements and open watches, when its key is not good any more.

A new call is refused by `authenticator`. The keys of what goes on are looked up again here, all of them together at an
interval. So ten thousand watches cost a few reads of the store, and all end within seconds of a revocation. A token of
an OpenID provider cannot be looked up: it says itself when it expires.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from cloud_service.access.caller import current_caller
from cloud_service.access.keys import parse_key
from cloud_service.errors import IntegrityError, UnauthenticatedError
from cloud_service.store.access import KeyStore

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks at the keys of what goes on."""

_CHUNK = 500
"""Keys that are read at once."""


class Revocation:
    """Knows what goes on for which key.

    Args:
        store: Where keys are.
        now: Unix seconds.
    """

    def __init__(self, store: KeyStore, now: Callable[[], float] = time.time) -> None:
        self._store = store
        self._now = now
        self._going_on: dict[str, set[asyncio.Timeout]] = {}

    @asynccontextmanager
    async def unless_refused(self) -> AsyncIterator[None]:
        """The block is cancelled when the caller's key is revoked, expires or is gone, or its token expires.

        Raises:
            UnauthenticatedError: It was.
        """
        caller = current_caller()
        key_id, expires_at = caller.key_id, caller.expires_at
        if not key_id:
            yield
            return
        try:
            async with asyncio.timeout(None if expires_at is None else expires_at - self._now()) as limit:
                if expires_at is None:
                    self._going_on.setdefault(key_id, set()).add(limit)
                try:
                    yield
                finally:
                    self._forget(key_id, limit)
        except TimeoutError:
            if not limit.expired():
                raise
            if expires_at is not None:
                raise UnauthenticatedError(
                    "the token has expired", "get another from its issuer", code="invalid_token"
                ) from None
            raise UnauthenticatedError(
                f"the API key {key_id} is not good any more", "ask an admin for another", code="invalid_api_key"
            ) from None

    async def look(self) -> None:
        """Look up the keys of what goes on, and end that of those that are not good any more.

        Raises:
            StoreUnavailableError: The store does not answer; everything goes on.
        """
        key_ids = list(self._going_on)
        for start in range(0, len(key_ids), _CHUNK):
            chunk = key_ids[start : start + _CHUNK]
            for key_id, record in zip(chunk, await self._store.load_keys(chunk), strict=True):
                if not self._is_good(key_id, record):
                    self._end(key_id)

    def _is_good(self, key_id: str, record: bytes | None) -> bool:
        try:
            return record is not None and parse_key(record).state(self._now()) == "active"
        except IntegrityError as e:
            _log.error("stored_key_damaged", key=key_id, reason=str(e))
            return False

    def _end(self, key_id: str) -> None:
        going_on = self._going_on.get(key_id, set())
        _log.info("work_ended_with_its_key", key=key_id, works=len(going_on))
        for limit in [each for each in going_on if not each.expired()]:
            limit.reschedule(asyncio.get_running_loop().time())

    def _forget(self, key_id: str, limit: asyncio.Timeout) -> None:
        going_on = self._going_on.get(key_id, set())
        going_on.discard(limit)
        if not going_on:
            self._going_on.pop(key_id, None)
