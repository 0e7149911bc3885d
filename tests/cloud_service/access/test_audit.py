"""Who did what is remembered."""

import json

import pytest
from structlog.testing import capture_logs

from cloud_service.access.audit import AuditLog
from cloud_service.access.caller import Caller, calling
from tests.cloud_service.access.fake_store import MemoryStore


async def test_entry_says_who_what_when_and_from_where() -> None:
    log = AuditLog(MemoryStore(), now=lambda: 1_000.5)
    with calling(Caller("id", "build", "acme", address="10.0.0.1", request_id="abc")):
        await log.record("channel.publish", channel="acme.kitchen", version=3)
    ((entry,), _) = await log.page(10)
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
    assert await _numbers(log, 10) == ([3, 2, 1], None)
    assert await _numbers(log, 10, before=3) == ([2, 1], None)
    assert await _numbers(log, 2) == ([3, 2], 2)
    with calling(Caller(tenant="acme")):
        assert await _numbers(log, 10) == ([3, 1], None)


async def test_entry_that_cannot_be_stored_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    store.away = True
    await AuditLog(store).record("channel.publish", channel="kitchen")
    assert "kitchen" in capsys.readouterr().out


async def _numbers(log: AuditLog, limit: int, before: int | None = None) -> tuple[list[int], int | None]:
    entries, next_before = await log.page(limit, before)
    return [entry.number for entry in entries], next_before


async def test_damaged_entry_hides_no_other_and_no_page() -> None:
    store = MemoryStore()
    log = AuditLog(store)
    for damaged in (b"{", b"[]", b'{"at": 1}'):
        await log.record("a")
        store.entries.append(("", damaged))
    assert await _numbers(log, 10) == ([5, 3, 1], None)
    assert await _numbers(log, 3) == ([5], 4)
    assert await _numbers(log, 3, before=4) == ([3, 1], 1)


async def test_entries_are_kept_for_some_days_or_for_ever() -> None:
    store = MemoryStore()
    await AuditLog(store, now=lambda: 1e6).prune()
    assert store.forgotten_before == []
    await AuditLog(store, days=2, now=lambda: 1e6).prune()
    assert store.forgotten_before == [1e6 - 2 * 86_400]


async def test_entry_that_makes_room_is_in_the_log_of_the_service() -> None:
    log = AuditLog(MemoryStore(most_entries=2))
    with capture_logs() as logged:
        for number in range(3):
            await log.record("a", number=number)
    (gone,) = logged
    assert gone["event"] == "audit_entry_made_room"
    assert json.loads(gone["entry"])["target"] == {"number": 0}
    assert len((await log.page(10))[0]) == 2
