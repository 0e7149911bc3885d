"""The port of sessions: who is signed in to the console.

Adapters keep the rules of `cloud_service.store.port`, and these:
- A session is found by the digest of what the browser has, so that nobody who reads the store can sign in.
- It is gone when its time is over, and when its key has begun so many others since that there is no room for it.
"""

from typing import Protocol


class SessionStore(Protocol):
    """Sessions by the digest of their secret, and the ids of their API keys."""

    async def store_session(self, digest: str, key_id: str, ttl_seconds: int, most: int) -> None:
        """Begin a session; the oldest of the key make room when it has `most` of them."""
        ...

    async def load_session(self, digest: str) -> str | None:
        """The id of the API key that a session was begun with; None when there is no such session."""
        ...

    async def delete_session(self, digest: str) -> None:
        """End a session, if there is one."""
        ...
