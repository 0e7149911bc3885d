"""A Redis that is full evicts what can be made again, and nothing else."""

from redis.asyncio import Redis

from cloud_service.store import StoredLora
from loragen.contract.digest import sha256_hex
from tests.cloud_service.store_backends import RedisBackend

BUNDLE = b"\0" * 100_000


def _lora(number: int) -> StoredLora:
    recipe = b"recipe %d" % number
    return StoredLora(sha256_hex(b"bundle %d" % number), len(BUNDLE), sha256_hex(recipe), recipe)


async def test_full_server_goes_on_and_keeps_channels_and_what_was_published(redis: RedisBackend) -> None:
    store = await redis.open(bundle_budget_bytes=10**9, timeout_seconds=60.0)
    kept = _lora(0)
    await store.store_generation("0", kept, BUNDLE)
    await store.keep(kept.bundle_id)
    await store.swap_channel("c", 0, 1, b"document")
    async with Redis.from_url(redis.url) as plain:
        used = (await plain.info("memory"))["used_memory"]
        await plain.config_set("maxmemory", used + 3_000_000)
        await plain.config_set("maxmemory-policy", "volatile-lru")
        for number in range(1, 100):
            await store.store_generation(str(number), _lora(number), BUNDLE)
        assert (await plain.info("stats"))["evicted_keys"] > 0
    assert await store.load_channel("c") == b"document"
    assert await store.load_lora(kept.bundle_id) == kept
    assert await store.load_recipe(kept.recipe_id) == kept.recipe
    assert await store.find_generation("99") is not None


async def test_generation_that_is_found_has_its_recipe_even_when_that_key_was_evicted(redis: RedisBackend) -> None:
    store = await redis.open()
    mortal, kept = _lora(1), _lora(2)
    for key, lora in (("mortal", mortal), ("kept", kept)):
        await store.store_generation(key, lora, BUNDLE)
    await store.keep(kept.bundle_id)
    async with Redis.from_url(redis.url) as plain:
        await plain.delete("{loragen}:recipe:" + mortal.recipe_id)
        for key, lora, expires in (("mortal", mortal, True), ("kept", kept, False)):
            assert await store.find_generation(key) is not None
            assert await store.load_recipe(lora.recipe_id) == lora.recipe
            for kind, name in (("recipe", lora.recipe_id), ("lora", lora.bundle_id)):
                assert (await plain.pttl(f"{{loragen}}:{kind}:{name}") > 0) is expires


async def test_loading_a_bundle_renews_its_time(redis: RedisBackend) -> None:
    store = await redis.open(bundle_budget_bytes=10**9)
    lora = _lora(1)
    await store.store_generation("key", lora, BUNDLE)
    name = f"{{loragen}}:bundle:{lora.bundle_id}"
    async with Redis.from_url(redis.url) as plain:
        assert await plain.pexpire(name, 60_000, xx=True)  # it had a time
        assert await store.load_bundle(lora.bundle_id) == BUNDLE
        assert await plain.pttl(name) > 500_000
