"""Keys are made, listed, rotated and revoked."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import Caller, calling
from cloud_service.access.key_service import KeyRequest, KeyService
from cloud_service.access.keys import encode_key, parse_key
from cloud_service.access.scopes import Scope
from cloud_service.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UsageLimitError,
)
from cloud_service.store.access import Share
from tests.cloud_service.access.fake_store import MemoryStore

READER = KeyRequest("reader", (Scope.READ,))
ACME_ADMIN = Caller("a", "admin of acme", "acme", frozenset({Scope.ADMIN}))


def _service(store: MemoryStore, now: float = 1_000.0, kept_seconds: float = 0) -> KeyService:
    return KeyService(store, AuditLog(store), lambda: now, kept_seconds=kept_seconds)


async def test_key_is_stored_as_a_digest() -> None:
    store = MemoryStore()
    token, key = await _service(store).create(replace(READER, lifetime_seconds=60))
    assert token.encode() not in b"".join([*store.keys.values(), *(entry for _, entry in store.entries)])
    assert parse_key(store.keys[key.id]) == key
    assert (key.created_at, key.expires_at) == (1_000, 1_060)


@pytest.mark.parametrize(
    "fields",
    [
        {"scopes": ()},
        {"scopes": (Scope.DEVICE,)},
        {"device": "dev-1"},
        {"scopes": (Scope.DEVICE, Scope.PUBLISH), "device": "dev-1"},
        {"scopes": (Scope.DEVICE,), "device": "Dev 1"},
        {"tenant": "Acme"},
        {"tenant": "acme.eu"},
    ],
)
async def test_key_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    store = MemoryStore()
    with pytest.raises(InvalidRequestError):
        await _service(store).create(replace(READER, **fields))
    assert not store.keys


async def test_admin_of_a_tenant_has_keys_of_that_tenant_only() -> None:
    store = MemoryStore()
    service = _service(store)
    _, foreign = await service.create(READER)
    with calling(ACME_ADMIN):
        _, own = await service.create(READER)
        assert own.tenant == "acme"
        with pytest.raises(ForbiddenError):
            await service.create(replace(READER, tenant="other"))
        assert await service.page(10) == ([own], None)
        for change in (service.revoke(foreign.id), service.rotate(foreign.id, 0)):
            with pytest.raises(NotFoundError):
                await change
        await service.revoke(own.id)
    listed, _ = await service.page(10)
    assert {key.id: key.state(1_001) for key in listed} == {foreign.id: "active", own.id: "revoked"}


async def test_pages_bring_every_key_once() -> None:
    store = MemoryStore()
    service = _service(store)
    made = {(await service.create(READER))[1].id for _ in range(5)}
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page, after = await service.page(2, after)
        found += [key.id for key in page]
    assert sorted(found) == sorted(made)


async def test_page_of_a_tenant_is_full_and_leads_to_no_other_tenants_key() -> None:
    service = _service(MemoryStore())
    own: set[str] = set()
    for tenant in ("other", "acme") * 5:
        _, key = await service.create(replace(READER, tenant=tenant))
        own |= {key.id} if tenant == "acme" else set()
    with calling(ACME_ADMIN):
        first, after = await service.page(3)
        rest, end = await service.page(3, after or "")
    assert after in own
    assert {key.id for key in (*first, *rest)} == own
    assert (len(first), end) == (3, None)


async def test_tenant_has_no_more_keys_than_it_may_and_the_operator_any_number() -> None:
    service = _service(MemoryStore(most_keys=2))
    for _ in range(3):
        await service.create(READER)
    with calling(ACME_ADMIN):
        _, key = await service.create(READER)
        await service.create(READER)
        for more in (service.create(READER), service.rotate(key.id, 0)):
            with pytest.raises(UsageLimitError, match="at most 2 API keys") as caught:
                await more
            assert caught.value.code == "too_many_keys"
        assert await service.share() == Share(2, 2)
    assert await service.share() is None
    await service.create(replace(READER, tenant="other"))


async def test_damaged_key_hides_no_other() -> None:
    store = MemoryStore()
    service = _service(store)
    made = sorted([(await service.create(READER))[1].id for _ in range(3)])
    store.keys[made[1]] = b"{"
    assert [key.id for key in (await service.page(10))[0]] == [made[0], made[2]]


async def test_rotation_makes_a_key_like_the_old_one_and_ends_that() -> None:
    store = MemoryStore()
    service = _service(store)
    _, old = await service.create(replace(READER, lifetime_seconds=1_000))
    token, new = await service.rotate(old.id, 100)
    assert (new.name, new.scopes, new.expires_at) == (old.name, old.scopes, old.expires_at)
    assert new.is_key(parse_key(store.keys[new.id]).digest)
    assert token
    assert parse_key(store.keys[old.id]).expires_at == 1_100
    await service.rotate(old.id, 5_000)
    assert parse_key(store.keys[old.id]).expires_at == 1_100, "a grace never makes a key live longer"
    with pytest.raises(InvalidRequestError, match="expired"):
        await _service(store, 1_100).rotate(old.id, 0)


async def test_key_that_is_not_there_is_not_found() -> None:
    service = _service(MemoryStore())
    for change in (service.revoke("0" * 12), service.rotate("0" * 12, 0)):
        with pytest.raises(NotFoundError):
            await change


async def test_revocation_beside_a_rotation_is_not_lost() -> None:
    class Racing(MemoryStore):
        """Between a read and the write after it, somebody else revokes the key once."""

        raced = False

        async def swap_key(self, key_id: str, expected: bytes | None, *changed: Any) -> bool:
            if expected is not None and not self.raced:
                self.raced = True
                self.keys[key_id] = encode_key(replace(parse_key(self.keys[key_id]), revoked_at=999))
            return await super().swap_key(key_id, expected, *changed)

    store = Racing()
    service = _service(store)
    _, old = await service.create(READER)
    await service.rotate(old.id, 100)
    assert parse_key(store.keys[old.id]).state(1_001) == "revoked"


async def test_key_that_changes_all_the_time_is_a_conflict() -> None:
    class Restless(MemoryStore):
        async def swap_key(self, key_id: str, expected: bytes | None, *changed: Any) -> bool:
            return expected is None and await super().swap_key(key_id, expected, *changed)

    service = _service(Restless())
    _, key = await service.create(READER)
    with pytest.raises(ConflictError):
        await service.revoke(key.id)


async def test_each_change_is_in_the_audit_log() -> None:
    store = MemoryStore()
    service = _service(store)
    with calling(ACME_ADMIN):
        _, old = await service.create(KeyRequest("dev", (Scope.DEVICE,), device="dev-1"))
        _, new = await service.rotate(old.id, 0)
        await service.revoke(new.id)
    entries = [json.loads(entry) for _, entry in store.entries]
    assert [entry["action"] for entry in entries] == ["key.create", "key.rotate", "key.revoke"]
    assert {entry["by"]["key_name"] for entry in entries} == {"admin of acme"}
    assert entries[1]["target"] == {
        "key": old.id,
        "name": "dev",
        "scopes": "device",
        "tenant": "acme",
        "device": "dev-1",
        "successor": new.id,
    }


async def test_key_that_has_not_been_good_for_long_is_forgotten_and_stays_in_the_audit_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cloud_service.access.key_service._MOST_SCANNED", 2)
    store = MemoryStore()
    service = _service(store)
    kept = [await service.create(READER), await service.create(replace(READER, lifetime_seconds=5_000))]
    gone = [await service.create(replace(READER, lifetime_seconds=seconds)) for seconds in (10, 20, 5_000)]
    await service.revoke(gone[2][1].id)
    entries = len(store.entries)
    for now, count in ((3_900.0, 0), (4_000.0, 0), (4_025.0, 3), (4_030.0, 0)):
        assert await _service(store, now, kept_seconds=3_000).prune() == count
    assert sorted(store.keys) == sorted(key.id for _, key in kept)
    assert len(store.entries) == entries
    assert await _service(store, 1e9).prune() == 0, "kept for ever by default"


@pytest.mark.parametrize(
    "refused", [READER, KeyRequest("one", (Scope.ADMIN,), "acme"), KeyRequest("d", (Scope.DEVICE,), device="*")]
)
async def test_first_key_is_an_operators_admin_where_it_makes_every_call_need_one(refused: KeyRequest) -> None:
    store = MemoryStore()
    keys = KeyService(store, AuditLog(store), begins_with_first=True)
    with pytest.raises(InvalidRequestError) as caught:
        await keys.create(refused)
    assert caught.value.code == "first_key_not_admin"
    assert not store.keys
    _, admin = await keys.create(KeyRequest("admin", (Scope.READ, Scope.ADMIN)))
    with calling(Caller(admin.id, admin.name, "", frozenset(admin.scopes))):
        await keys.create(refused)
    await keys.create(refused)  # for a moment a call without a key may still be taken
