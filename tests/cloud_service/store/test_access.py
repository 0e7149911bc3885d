"""What every adapter promises of keys, the audit log, owners and counters; against Redis and SQLite."""

import asyncio
import time

import pytest

from cloud_service.store import StoredImport, StoredLora
from cloud_service.store.access import Share, StoredEntry
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import StoreBackend, store_lora


async def test_key_changes_by_compare_and_swap_and_outlives_a_restart(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    assert not await access.has_keys()
    assert await access.load_key("one") is None
    assert await access.swap_key("one", None, b"first")
    assert not await access.swap_key("one", None, b"other")
    assert not await access.swap_key("one", b"other", b"second")
    assert not await access.swap_key("two", b"first", b"second")
    assert await access.swap_key("one", b"first", b"second\0\xff")
    await backend.restart()
    access = (await backend.open()).access
    assert await access.load_key("one") == b"second\0\xff"
    assert await access.has_keys()
    assert await access.load_keys(["two", "one", "two"]) == [None, b"second\0\xff", None]
    assert await access.load_keys([]) == []


async def test_one_of_many_writers_of_a_key_wins(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    await access.swap_key("one", None, b"old")
    won = await asyncio.gather(*(access.swap_key("one", b"old", b"%d" % n) for n in range(8)))
    assert sum(won) == 1


async def test_keys_are_listed_by_id_page_by_page(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    assert await access.list_keys(10) == []
    for key_id in ("b", "c", "a"):
        await access.swap_key(key_id, None, key_id.encode())
    assert await access.list_keys(2) == [b"a", b"b"]
    assert await access.list_keys(2, "b") == [b"c"]
    assert await access.list_keys(2, "c") == []


async def test_keys_of_a_tenant_are_listed_for_themselves(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    for key_id, tenant in (("d", "acme"), ("a", "acme"), ("b", "other"), ("c", "")):
        await access.swap_key(key_id, None, key_id.encode(), tenant)
    assert await access.list_keys(1, "", "acme") == [b"a"]
    assert await access.list_keys(2, "a", "acme") == [b"d"]
    assert await access.list_keys(9) == [b"a", b"b", b"c", b"d"]
    assert await access.forget_key("d", b"d", "acme")
    assert await access.list_keys(9, "", "acme") == [b"a"]


async def test_tenant_has_so_many_keys_and_those_that_ended_make_room(backend: StoreBackend) -> None:
    access, now = (await backend.open(keys_per_tenant=3)).access, int(time.time())
    for key_id, ends_at in (("late", now - 10), ("early", now - 20), ("on", now + 100)):
        assert await access.swap_key(key_id, None, b"old", "acme", ends_at)
    assert await access.key_share("acme") == Share(3, 3)
    assert await access.swap_key("new", None, b"new", "acme")
    assert [await access.load_key(each) for each in ("early", "late")] == [None, b"old"]
    assert await access.swap_key("newer", None, b"newer", "acme")
    assert not await access.swap_key("no", None, b"no", "acme")
    assert await access.load_key("no") is None
    assert await access.swap_key("on", b"old", b"revoked", "acme", now), "one that is there is changed all the same"
    assert await access.swap_key("no", None, b"no", "acme")
    assert await access.list_keys(9, "", "acme") == [b"new", b"newer", b"no"]
    assert await access.key_share("acme") == Share(3, 3)
    assert await access.swap_key("other", None, b"other", "other")
    for number in range(4):
        assert await access.swap_key(f"operator{number}", None, b"any number")


async def test_keys_made_at_once_go_over_no_share(backend: StoreBackend) -> None:
    access = (await backend.open(keys_per_tenant=3)).access
    made = await asyncio.gather(*(access.swap_key(f"{n}", None, b"key", "acme") for n in range(8)))
    assert sum(made) == len(await access.list_keys(9)) == 3


async def test_key_is_taken_away_if_it_is_as_expected_and_not_the_only_one(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    for key_id in ("one", "two"):
        await access.swap_key(key_id, None, key_id.encode())
    assert not await access.forget_key("one", b"another")
    assert not await access.forget_key("three", b"three")
    assert await access.forget_key("one", b"one")
    assert not await access.forget_key("two", b"two")
    assert await access.has_keys()
    assert await access.list_keys(10) == [b"two"]
    assert await access.load_key("one") is None


async def test_audit_entries_are_numbered_kept_and_found_by_tenant(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    assert await access.list_entries(10) == []
    for tenant, entry in (("", b"one"), ("acme", b"two\0\xff"), ("other", b"three"), ("acme", b"four")):
        await access.append_entry(tenant, 1.0, entry)
    await backend.restart()
    access = (await backend.open()).access
    first, *_ = numbers = [each.number for each in await access.list_entries(10)]
    assert numbers == sorted(numbers, reverse=True)
    assert [each.entry for each in await access.list_entries(10)] == [b"four", b"three", b"two\0\xff", b"one"]
    assert [each.entry for each in await access.list_entries(2, first)] == [b"three", b"two\0\xff"]
    assert [each.entry for each in await access.list_entries(10, None, "acme")] == [b"four", b"two\0\xff"]
    assert await access.list_entries(10, first, "acme") == [StoredEntry(numbers[2], b"two\0\xff")]
    assert await access.list_entries(10, None, "nobody") == []


async def test_audit_entries_are_forgotten_by_their_age_in_every_listing(
    backend: StoreBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_service.store.redis_access.FORGOTTEN_AT_ONCE", 2)
    access = (await backend.open()).access
    await access.forget_entries(1e9)
    for number in range(7):
        await access.append_entry("acme" if number % 2 else "", 1_000.5 + number, b"%d" % number)
    await access.forget_entries(1_005.5)
    assert [each.entry for each in await access.list_entries(10)] == [b"6", b"5"]
    assert [each.entry for each in await access.list_entries(10, None, "acme")] == [b"5"]
    await access.append_entry("", 2_000.0, b"new")
    newest, *_ = await access.list_entries(10)
    assert newest.number == 8, "numbers grow on"


async def test_oldest_audit_entries_of_who_has_too_many_make_room(backend: StoreBackend) -> None:
    access = (await backend.open(audit_entries=2)).access
    gone = [await access.append_entry(tenant, 1.0, tenant.encode()) for tenant in ("", "acme", "", "acme", "other")]
    assert gone == [[]] * 5
    assert await access.append_entry("acme", 2.0, b"third") == [b"acme"]
    assert await access.append_entry("", 2.0, b"operator's") == [b""]
    assert [each.entry for each in await access.list_entries(10, None, "acme")] == [b"third", b"acme"]
    assert [each.entry for each in await access.list_entries(10)] == [b"operator's", b"third", b"other", b"acme", b""]
    await access.forget_entries(1.5)
    assert await access.append_entry("acme", 3.0, b"fourth") == [], "what was forgotten by its age counts no more"
    assert await access.append_entry("acme", 3.0, b"fifth") == [b"third"]


async def test_smaller_audit_log_is_reached_soon(backend: StoreBackend) -> None:
    access = (await backend.open()).access
    for number in range(5):
        await access.append_entry("acme", 1.0, b"%d" % number)
    access = (await backend.open(audit_entries=2)).access
    assert await access.append_entry("acme", 1.0, b"5") == [b"0", b"1", b"2", b"3"]


async def test_bundle_belongs_to_those_who_made_it(backend: StoreBackend) -> None:
    store = await backend.open()
    lora = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))
    await store_lora(store, "key", lora, b"bundle")
    imported = StoredImport(sha256_hex(b"own"), 3, "model", "digest")
    await store.store_imported(imported, b"own")
    for tenant in ("acme", "other"):
        await store.access.own(tenant, lora.recipe_id)
    await store.access.own("acme", lora.bundle_id)
    await store.access.own("acme", imported.bundle_id)
    await store_lora(store, "again", lora, b"bundle")
    await store.prune()
    for tenant, owns, owns_bundle in (("acme", True, True), ("other", True, False), ("third", False, False)):
        assert await store.access.owns(tenant, lora.recipe_id) is owns
        assert await store.access.owns(tenant, lora.bundle_id) is owns_bundle
    assert await store.access.owns("acme", imported.bundle_id)
    assert not await store.access.owns("other", imported.bundle_id)
    assert await store.load_lora(lora.bundle_id) == lora
    assert await store.load_imported(imported.bundle_id) == b"own"


async def test_bundle_that_is_not_there_gets_no_trace_of_an_owner(backend: StoreBackend) -> None:
    store = await backend.open()
    absent = sha256_hex(b"absent")
    await store.access.own("acme", absent)
    await store.prune()
    assert not await store.access.owns("acme", absent)
    assert await store.load_lora(absent) is None


async def test_counter_is_shared_and_begins_anew_when_its_time_is_over(backend: StoreBackend) -> None:
    store = await backend.open()
    one, other = store.access, (await backend.open()).access
    assert await one.count("a", 2, 1) == 2
    assert await other.count("a", 3, 60) == 5
    assert await one.count("b", 0, 60) == 0
    assert sorted(await asyncio.gather(*(one.count("c", 1, 60) for _ in range(10)))) == list(range(1, 11))
    await asyncio.sleep(1.1)
    await store.prune()
    assert await one.count("a", 1, 60) == 1
    assert await one.count("c", 1, 60) == 11
