"""Who did what is remembered."""

import pytest

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import Caller, calling
from cloud_service.errors import IntegrityError
from tests.cloud_service.access.fake_store import MemoryStore


async def test_entry_says_who_what_when_and_from_where() -> None:
    log = AuditLog(MemoryStore(), lambda: 1_000.5)
    with calling(Caller("id", "build", "acme", address="10.0.0.1", request_id="abc")):
        await log.record("channel.publish", channel="acme.kitchen", version=3)
    (entry,) = await log.page(10)
    assert (entry.number, entry.at, entry.action) == (1, 1_000.5, "channel.publish")
    assert entry.by == {
        "key_id": "id",
        "key_name": "build",
        "tenant": "acme",
        "address": "10.0.0.1",
        "request_id": "abc",
    }
    assert entry.target == {"channel": "acme.kitchen", "version": 3}


async def test_tenant_sees_its_own_entries_newest_first() -> None:
    log = AuditLog(MemoryStore())
    for tenant in ("acme", "other", "acme"):
        with calling(Caller(tenant=tenant)):
            await log.record("a", tenant=tenant)
    assert [entry.number for entry in await log.page(10)] == [3, 2, 1]
    assert [entry.number for entry in await log.page(10, before=3)] == [2, 1]
    with calling(Caller(tenant="acme")):
        assert [entry.number for entry in await log.page(10)] == [3, 1]


async def test_entry_that_cannot_be_stored_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    store.away = True
    await AuditLog(store).record("channel.publish", channel="kitchen")
    assert "kitchen" in capsys.readouterr().out


async def test_damaged_entry_is_an_integrity_error() -> None:
    store = MemoryStore()
    store.entries.append(("", b"{"))
    with pytest.raises(IntegrityError):
        await AuditLog(store).page(10)
