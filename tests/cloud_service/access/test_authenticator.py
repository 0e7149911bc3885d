"""From a header to the caller."""

from dataclasses import replace

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.access.authenticator import Authentication, Authenticator, at_address
from cloud_service.access.caller import Caller
from cloud_service.access.key_service import KeyRequest, KeyService
from cloud_service.access.keys import encode_key, make_token, parse_key
from cloud_service.access.scopes import Scope
from cloud_service.errors import StoreUnavailableError, UnauthenticatedError
from loragen.web.errors import ConfigurationError
from tests.cloud_service.access.fake_store import MemoryStore


class World:
    """A store, a clock and an authenticator over them."""

    def __init__(self, authentication: Authentication = "auto") -> None:
        self.store = MemoryStore()
        self.time = 1_000.0
        self.keys = KeyService(self.store, AuditLog(self.store), lambda: self.time)
        self.authenticator = self.replica(authentication)

    def replica(self, authentication: Authentication = "keys") -> Authenticator:
        return Authenticator(self.store, authentication, now=lambda: self.time, monotonic=lambda: self.time)

    async def make(self, *scopes: Scope, lifetime_seconds: int | None = None) -> tuple[str, str]:
        request = KeyRequest("one", scopes or (Scope.READ,), "acme", lifetime_seconds=lifetime_seconds)
        token, key = await self.keys.create(request)
        return f"Bearer {token}", key.id


async def test_key_tells_who_calls_and_what_it_is_good_for() -> None:
    world = World("keys")
    header, key_id = await world.make(Scope.READ, Scope.GENERATE)
    for each in (header, header.replace("Bearer", "bearer"), f"{header} "):
        caller = await world.authenticator.identify(each)
        assert (caller.key_id, caller.key_name, caller.tenant) == (key_id, "one", "acme")
        assert caller.scopes == {Scope.READ, Scope.GENERATE}
    assert at_address(caller, "10.0.0.1", "abc").address == "10.0.0.1"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpw", "loragen_x"])
async def test_call_without_a_key_is_refused(header: str | None) -> None:
    with pytest.raises(UnauthenticatedError, match="expected") as caught:
        await World("keys").authenticator.identify(header)
    assert caught.value.headers["www-authenticate"] == 'Bearer realm="loragen"'


async def test_other_keys_are_refused_and_say_so_in_the_header() -> None:
    world = World("keys")
    header, _ = await world.make()
    own = header.removeprefix("Bearer ")
    for token in (make_token()[0], "x", own[:-1], own.upper(), "\udcff"):
        with pytest.raises(UnauthenticatedError) as caught:
            await world.authenticator.identify(f"Bearer {token}")
        assert 'error="invalid_token"' in caught.value.headers["www-authenticate"]
        assert own not in str(caught.value)


async def test_key_of_the_right_id_and_another_secret_is_refused() -> None:
    world = World("keys")
    header, key_id = await world.make()
    other, other_id = make_token()
    stored = parse_key(world.store.keys[key_id])
    world.store.keys[other_id] = encode_key(replace(stored, id=other_id))
    with pytest.raises(UnauthenticatedError):
        await world.authenticator.identify(f"Bearer {other}")
    assert (await world.authenticator.identify(header)).key_id == key_id


async def test_known_key_is_not_looked_up_for_three_seconds() -> None:
    world = World("keys")
    header, _ = await world.make()
    loads = world.store.loads
    for _ in range(100):
        await world.authenticator.identify(header)
    assert world.store.loads == loads + 1
    world.time += 3
    await world.authenticator.identify(header)
    assert world.store.loads == loads + 2


async def test_revoked_key_is_refused_within_seconds_on_every_replica() -> None:
    world = World("keys")
    header, key_id = await world.make()
    replicas = [world.replica(), world.replica()]
    for replica in replicas:
        await replica.identify(header)
    await world.keys.revoke(key_id)
    world.time += 3
    for replica in replicas:
        with pytest.raises(UnauthenticatedError, match="revoked"):
            await replica.identify(header)


async def test_key_that_expires_is_refused_at_once() -> None:
    world = World("keys")
    header, _ = await world.make(lifetime_seconds=2)
    await world.authenticator.identify(header)
    world.time += 2
    with pytest.raises(UnauthenticatedError, match="expired"):
        await world.authenticator.identify(header)


async def test_store_that_is_away_refuses_nobody_it_still_knows() -> None:
    world = World("keys")
    header, _ = await world.make()
    await world.authenticator.identify(header)
    world.store.away = True
    world.time += 2
    await world.authenticator.identify(header)
    world.time += 2
    with pytest.raises(StoreUnavailableError):
        await world.authenticator.identify(header)


async def test_service_without_keys_asks_for_none_until_the_first_is_made() -> None:
    world = World()
    assert (await world.authenticator.identify(None)).scopes == frozenset(Scope)
    _, key_id = await world.make()
    world.time += 3
    with pytest.raises(UnauthenticatedError):
        await world.authenticator.identify(None)
    await world.keys.revoke(key_id)
    world.time += 10
    with pytest.raises(UnauthenticatedError):
        await world.authenticator.identify(None)
    restarted = world.replica("auto")  # nor does a restart open it again
    await restarted.verify_start("127.0.0.1")
    with pytest.raises(UnauthenticatedError):
        await restarted.identify(None)


async def test_store_that_is_away_does_not_lock_out_a_service_without_keys() -> None:
    world = World()
    world.store.away = True
    assert (await world.authenticator.identify(None)).scopes == frozenset(Scope)


async def test_authentication_that_is_off_asks_nobody() -> None:
    world = World("none")
    await world.make()
    await world.authenticator.verify_start("0.0.0.0")
    assert (await world.authenticator.identify("Bearer nonsense")).key_id == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
async def test_start_on_a_public_address_without_keys_is_refused_with_a_way_out(host: str) -> None:
    world = World()
    with pytest.raises(ConfigurationError, match="loopback") as caught:
        await world.authenticator.verify_start(host)
    assert "loragen keys bootstrap" in caught.value.hint
    assert "LORAGEN_CLOUD_AUTHENTICATION" in caught.value.hint
    await world.replica("keys").verify_start(host)
    await world.make()
    await world.authenticator.verify_start(host)
    assert world.authenticator.required


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
async def test_start_on_loopback_needs_no_keys(host: str) -> None:
    await World().authenticator.verify_start(host)


class FakeTokens:
    """Tokens whose second part names their holder."""

    async def identify(self, token: str) -> Caller:
        return Caller(f"oidc:{token.split('.')[1]}")

    async def refresh(self) -> None:
        """Nothing to ask."""

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_tokens_are_good_beside_keys_and_need_no_store() -> None:
    world = World("keys")
    header, key_id = await world.make()
    both = Authenticator(world.store, "auto", FakeTokens())
    assert (await both.identify(header)).key_id == key_id
    world.store.away = True
    assert (await both.identify("Bearer a.ada.c")).key_id == "oidc:ada"
    assert (await both.identify("Bearer a.ada.")).key_id == "oidc:ada"
    with pytest.raises(UnauthenticatedError):
        await both.identify("Bearer a.b.c.d")


async def test_service_with_tokens_and_without_keys_is_closed_and_may_listen_anywhere() -> None:
    closed = Authenticator(World().store, "auto", FakeTokens())
    await closed.verify_start("0.0.0.0")
    with pytest.raises(UnauthenticatedError):
        await closed.identify(None)


async def test_token_is_no_key_where_no_issuer_is_set() -> None:
    with pytest.raises(UnauthenticatedError, match="API key"):
        await World("keys").authenticator.identify("Bearer a.ada.c")
