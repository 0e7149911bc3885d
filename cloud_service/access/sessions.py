"""Coordinator: people who are signed in to the console.

Whoever shows an API key gets a session: 256 random bits that the browser keeps in place of the key, good for the
console alone and for twelve hours. The store has their sha256 and the id of the key. So a session ends with its key,
at once when its owner signs out, and on every replica; and when the key has begun very many others since.
"""

import secrets
import time
from collections.abc import Callable

from cloud_service.access.authenticator import Authenticator, caller_of
from cloud_service.access.caller import Caller
from cloud_service.access.keys import digest_of, id_of, parse_key
from cloud_service.errors import UnauthenticatedError
from cloud_service.limits import MAX_SESSIONS_PER_KEY
from cloud_service.store.access import KeyStore
from cloud_service.store.sessions import SessionStore

SESSION_SECONDS = 12 * 3600
"""A working day: whoever comes back tomorrow shows the key again."""

_LONGEST_SESSION = 64


class Sessions:
    """Begins sessions, finds them and ends them.

    Args:
        store: Where they are.
        keys: Where API keys are.
        authenticator: Knows who shows a key.
        now: Unix seconds.
    """

    def __init__(
        self, store: SessionStore, keys: KeyStore, authenticator: Authenticator, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keys = keys
        self._authenticator = authenticator
        self._now = now

    async def identify(self, session: str) -> Caller:
        """Whose session it is; without one that is known, whoever calls without a key.

        Raises:
            UnauthenticatedError: The service asks for a key.
            StoreUnavailableError: The store does not answer.
        """
        if 0 < len(session) <= _LONGEST_SESSION:
            key_id = await self._store.load_session(digest_of(session))
            record = None if key_id is None else await self._keys.load_key(key_id)
            key = None if record is None else parse_key(record)
            if key is not None and key.state(self._now()) == "active":
                return caller_of(key)
        return await self._authenticator.identify(None)

    async def identify_key(self, key: str) -> Caller:
        """Whose key it is.

        Raises:
            UnauthenticatedError: Nobody's that is known.
            StoreUnavailableError: The store does not answer.
        """
        caller = await self._authenticator.identify(f"Bearer {key}")
        if caller.key_id and id_of(key) is None:
            raise UnauthenticatedError(
                "expected an API key, found a token", "a session stands for a key: make one with the token"
            )
        return caller

    async def begin(self, caller: Caller) -> str:
        """A new session of a caller; empty for one without a key, who needs none.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        if not caller.key_id:
            return ""
        session = secrets.token_urlsafe(32)
        await self._store.store_session(digest_of(session), caller.key_id, SESSION_SECONDS, MAX_SESSIONS_PER_KEY)
        return session

    async def end(self, session: str) -> None:
        """Let a session be none from now on.

        Raises:
            StoreUnavailableError: The store does not answer.
        """
        if 0 < len(session) <= _LONGEST_SESSION:
            await self._store.delete_session(digest_of(session))
