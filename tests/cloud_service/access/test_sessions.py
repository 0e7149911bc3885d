"""People who are signed in."""

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.access.authenticator import Authenticator
from cloud_service.access.caller import Caller
from cloud_service.access.key_service import KeyRequest, KeyService
from cloud_service.access.scopes import Scope
from cloud_service.access.sessions import SESSION_SECONDS, Sessions
from cloud_service.errors import UnauthenticatedError
from tests.cloud_service.access.fake_store import MemoryStore


class MemorySessions:
    """`SessionStore` without times."""

    def __init__(self) -> None:
        self.sessions: dict[str, tuple[str, int]] = {}

    async def store_session(self, digest: str, key_id: str, ttl_seconds: int, most: int) -> None:
        self.sessions[digest] = (key_id, ttl_seconds)

    async def load_session(self, digest: str) -> str | None:
        return self.sessions.get(digest, (None, 0))[0]

    async def delete_session(self, digest: str) -> None:
        self.sessions.pop(digest, None)


class Clock:
    """Unix seconds that a test sets."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def test_session_stands_for_its_key_until_one_of_them_ends() -> None:
    store, kept, clock = MemoryStore(), MemorySessions(), Clock()
    keys = KeyService(store, AuditLog(store), clock)
    sessions = Sessions(kept, store, Authenticator(store, "keys", now=clock), clock)
    token, key = await keys.create(KeyRequest("ann", (Scope.READ,), "acme", lifetime_seconds=60))
    caller = await sessions.identify_key(token)
    one, other = await sessions.begin(caller), await sessions.begin(caller)
    assert one != other
    assert await sessions.identify(one) == Caller(key.id, "ann", "acme", frozenset({Scope.READ}))
    assert all(one not in digest and token not in digest for digest in kept.sessions)
    assert {ttl for _, ttl in kept.sessions.values()} == {SESSION_SECONDS}
    await sessions.end(one)
    with pytest.raises(UnauthenticatedError):
        await sessions.identify(one)
    assert (await sessions.identify(other)).key_id == key.id
    clock.now += 61
    with pytest.raises(UnauthenticatedError):
        await sessions.identify(other)


async def test_session_of_a_revoked_or_lost_key_is_none() -> None:
    store, kept = MemoryStore(), MemorySessions()
    keys = KeyService(store, AuditLog(store))
    sessions = Sessions(kept, store, Authenticator(store, "keys"))
    token, key = await keys.create(KeyRequest("ann", (Scope.READ,)))
    session = await sessions.begin(await sessions.identify_key(token))
    await keys.revoke(key.id)
    with pytest.raises(UnauthenticatedError):
        await sessions.identify(session)
    store.keys.clear()
    with pytest.raises(UnauthenticatedError):
        await sessions.identify(session)


@pytest.mark.parametrize("session", ["", "x", "x" * 100_000, "\udcff"])
async def test_text_that_is_no_session_is_nobody(session: str) -> None:
    store = MemoryStore()
    sessions = Sessions(MemorySessions(), store, Authenticator(store, "keys"))
    with pytest.raises(UnauthenticatedError):
        await sessions.identify(session)
    await sessions.end(session)


async def test_service_that_asks_for_no_key_has_no_sessions() -> None:
    store, kept = MemoryStore(), MemorySessions()
    sessions = Sessions(kept, store, Authenticator(store, "none"))
    assert await sessions.identify("of another time") == Caller()
    assert await sessions.begin(await sessions.identify_key("whatever")) == ""
    assert kept.sessions == {}


class OneToken:
    """`Tokens` of somebody."""

    async def identify(self, token: str) -> Caller:
        return Caller("oidc:ann", "ann")

    async def refresh(self) -> None: ...

    async def aclose(self) -> None: ...


async def test_session_stands_for_no_token_of_a_provider() -> None:
    store = MemoryStore()
    sessions = Sessions(MemorySessions(), store, Authenticator(store, tokens=OneToken()))
    with pytest.raises(UnauthenticatedError, match="found a token"):
        await sessions.identify_key("a.b.c")
