"""What is special to Redis: a server that is full or takes no writes, and keys that are damaged or expire."""

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from cloud_service.errors import StoreUnavailableError
from cloud_service.store import StoredGeneration, StoredLora
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import RedisBackend, recipe_of, store_lora, store_report, swap

pytestmark = pytest.mark.usefixtures("every_failure_is_logged")

BUNDLE = b"\0" * 100_000
LORA = StoredLora(sha256_hex(b"recipe"), b"recipe", 6, sha256_hex(b"bundle"))


def _lora(number: int) -> StoredLora:
    recipe = b"recipe %d" % number
    return StoredLora(sha256_hex(recipe), recipe, len(BUNDLE), sha256_hex(b"bundle %d" % number))


@pytest.mark.parametrize(
    "damage", [{"bundle_bytes": b"x"}, {"bundle_bytes": None}, {"recipe": None}, {"recipe": None, "bundle_bytes": None}]
)
async def test_damaged_recipe_in_redis_is_absent_until_it_is_stored_again(
    redis: RedisBackend, damage: dict[str, bytes | None]
) -> None:
    store = await redis.open()
    await store_lora(store, "key", LORA, b"bundle")
    name = f"{{loragen}}:recipe:{LORA.recipe_id}"
    async with Redis.from_url(redis.url) as plain:
        for field, value in damage.items():
            await (plain.hdel(name, field) if value is None else plain.hset(name, field, value))
    assert await store.find_generation("key") is None
    assert await store.load_lora(LORA.bundle_id) is None
    await store_lora(store, "key", LORA, b"bundle")
    assert await store.find_generation("key") == StoredGeneration(recipe_of(LORA))
    assert await store.load_lora(LORA.bundle_id) == LORA


async def test_full_server_goes_on_and_keeps_channels_and_what_was_published(redis: RedisBackend) -> None:
    store = await redis.open(bundle_budget_bytes=10**9, timeout_seconds=60.0)
    pinned = _lora(0)
    await store_lora(store, "0", pinned, BUNDLE)
    await store.pin(pinned.bundle_id)
    await swap(store, "c", 0, 1, b"document")
    async with Redis.from_url(redis.url) as plain:
        used = (await plain.info("memory"))["used_memory"]
        await plain.config_set("maxmemory", used + 3_000_000)
        await plain.config_set("maxmemory-policy", "volatile-lru")
        for number in range(1, 100):
            await store_lora(store, str(number), _lora(number), BUNDLE)
        assert (await plain.info("stats"))["evicted_keys"] > 0
    assert await store.channels.load("c") == b"document"
    assert await store.load_lora(pinned.bundle_id) == pinned
    assert await store.load_recipe(pinned.recipe_id) == pinned.recipe
    assert await store.find_generation("99") is not None


@pytest.mark.parametrize("damage", [None, b"\xff"])
async def test_bundle_whose_key_was_evicted_is_unknown_until_it_is_named_again(
    redis: RedisBackend, damage: bytes | None
) -> None:
    store = await redis.open()
    await store_lora(store, "key", LORA, b"bundle")
    async with Redis.from_url(redis.url) as plain:
        if damage is None:
            await plain.delete("{loragen}:lora:" + LORA.bundle_id)
        else:
            await plain.hset("{loragen}:recipe:" + LORA.recipe_id, "bundle_id", damage)
    assert await store.find_generation("key") == StoredGeneration(recipe_of(LORA))
    assert await store.load_lora(LORA.bundle_id) is None
    assert await store.load_lora(LORA.recipe_id) is None
    await store.name_bundle(LORA.recipe_id, LORA.bundle_id)
    assert await store.load_lora(LORA.recipe_id) == LORA
    assert await store.pin(LORA.bundle_id)


async def test_all_of_a_lora_expires_unless_it_is_pinned(redis: RedisBackend) -> None:
    store = await redis.open()
    mortal, pinned = _lora(1), _lora(2)
    for key, lora in (("mortal", mortal), ("pinned", pinned)):
        await store_lora(store, key, lora, BUNDLE)
    await store.pin(pinned.bundle_id)
    await store_lora(store, "pinned", pinned, BUNDLE)
    async with Redis.from_url(redis.url) as plain:
        for key, lora, expires in (("mortal", mortal, True), ("pinned", pinned, False)):
            assert await store.find_generation(key) is not None
            for kind, name in (("recipe", lora.recipe_id), ("lora", lora.bundle_id)):
                assert (await plain.pttl(f"{{loragen}}:{kind}:{name}") > 0) is expires


async def test_loading_a_bundle_renews_its_time(redis: RedisBackend) -> None:
    store = await redis.open(bundle_budget_bytes=10**9)
    lora = _lora(1)
    await store_lora(store, "key", lora, BUNDLE)
    name = f"{{loragen}}:bundle:{lora.bundle_id}"
    async with Redis.from_url(redis.url) as plain:
        assert await plain.pexpire(name, 60_000, xx=True)  # it had a time
        assert await store.load_bundle(lora.bundle_id) == BUNDLE
        assert await plain.pttl(name) > 500_000


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ({"maxmemory": 1, "maxmemory-policy": "noeviction"}, "OutOfMemoryError"),
        ({"replicaof": "127.0.0.1 1"}, "ReadOnlyError"),
        ({"min-replicas-to-write": 1}, "NoReplicasError"),
    ],
)
async def test_server_that_takes_no_writes_is_not_ready_and_the_log_alone_says_why(
    redis: RedisBackend, setting: dict[str, object], cause: str
) -> None:
    store = await redis.open()
    await store.verify_writable()
    async with Redis.from_url(redis.url) as plain:
        for name, value in setting.items():
            if name == "replicaof":
                await plain.execute_command("REPLICAOF", *str(value).split())
            else:
                await plain.config_set(name, value)
        for call in (store.verify_writable(), swap(store, "c", 0, 1, b"document")):
            with capture_logs() as logged, pytest.raises(StoreUnavailableError) as caught:
                await call
            assert str(caught.value) == "the store is not available"
            assert logged[0]["event"] == "store_failed"
            assert logged[0]["cause"] in (cause, "ResponseError")
        await plain.execute_command("REPLICAOF", "NO", "ONE")
        for name, value in {"maxmemory": 0, "min-replicas-to-write": 0}.items():
            await plain.config_set(name, value)
    await store.verify_writable()


async def test_report_that_made_room_takes_no_memory(redis: RedisBackend) -> None:
    store = await redis.open(devices_per_channel=2)
    for number in range(5):
        await store_report(store, "c", f"device-{number}", b"report")
    async with Redis.from_url(redis.url) as plain:
        assert len(await plain.keys("{loragen}:device:c:*")) == 2


async def test_generation_that_is_found_again_soon_writes_nothing(redis: RedisBackend) -> None:
    store = await redis.open()
    await store_lora(store, "key", LORA, b"bundle")
    async with Redis.from_url(redis.url) as plain:
        before = (await plain.info("persistence"))["rdb_changes_since_last_save"]
        for _ in range(10):
            assert await store.find_generation("key") == StoredGeneration(recipe_of(LORA))
        assert (await plain.info("persistence"))["rdb_changes_since_last_save"] == before
        await plain.pexpire("{loragen}:generation:key", 300_000)
        await store.find_generation("key")
        assert await plain.pttl("{loragen}:generation:key") > 500_000
