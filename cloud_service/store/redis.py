"""The store in Redis or Valkey (7 or later), shared by all replicas. The only file that imports redis.

All keys begin with `{loragen}:`. The braces put them into one slot of a cluster, so that a script may use several:

    generation:<key>    id of the bundle that a request led to, then its note      expires
    lora:<bundle id>    hash: bundle_bytes, recipe_id, recipe, pinned              expires unless pinned
    recipe:<recipe id>  id of the bundle that the recipe makes                     expires unless pinned
    bundle:<bundle id>  the bytes                                                  expires
    bundles:used        sorted set of bundle ids by last use, in microseconds
    bundles:bytes       hash: length of each bundle
    bundles:total       sum of these lengths
    imported:<bundle id> hash of a bundle that a user imported:
                        bundle, edge_model_id, edge_model_digest, pinned           expires unless pinned
    imports:expires    sorted set of their ids by the millisecond in which they expire
    imports:bytes      hash: length of each of them
    channel:<name>      hash: version, digest, document
    lease:<key>         owner                                                      expires
    devices:<channel>   sorted set of device ids by last report, in microseconds   expires
    device:<channel>:<device id>   the report                                      expires
    writable:yes        nothing; written to see whether the server takes it        expires

Changes that must happen in one step are scripts. Run the server with `appendonly yes`, or a restart loses the data,
and with a `maxmemory` and `volatile-lru`: everything that can be made again expires, so a full server evicts only that,
never a channel or a pinned recipe. Any key may be gone while others are still there.
"""

from collections.abc import Awaitable
from typing import Any, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import RedisError

from cloud_service.store.port import (
    StoredGeneration,
    StoredImport,
    StoredLora,
    StoredReport,
    StoreLimits,
    unavailable,
)
from cloud_service.store.waiting import waiting
from loragen.contract.digest import sha256_hex

_log = structlog.get_logger(__name__)

_PREFIX = "{loragen}:"

_MAX_CONNECTIONS = 32
"""Of one process. Redis answers one command at a time, so with more connections calls would only wait there."""

_WRITABLE_MS = 60_000
"""Nobody reads what is written to see whether the server takes it."""

_ID_CHARS = 64
"""Bundle ids are sha256 in hexadecimal; in a generation's value the note follows the id."""

# Reads what a request led to, and renews the time to live of everything that belongs to it: after a tenth of that time,
# since otherwise every cached answer would be a write.
_FIND = """
local value = redis.call('GET', KEYS[1])
if not value then return false end
local id, note = string.sub(value, 1, ARGV[3]), string.sub(value, ARGV[3] + 1)
local lora = ARGV[1] .. 'lora:' .. id
local found = redis.call('HMGET', lora, 'bundle_bytes', 'recipe_id', 'recipe')
if not found[2] then return false end
local recipe = ARGV[1] .. 'recipe:' .. found[2]
if redis.call('PTTL', KEYS[1]) < 0.9 * ARGV[2] or redis.call('EXISTS', recipe) == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  if redis.call('PEXPIRE', lora, ARGV[2], 'XX') == 1 then
    redis.call('SET', recipe, id, 'PX', ARGV[2])
  end
end
return {id, found[1], found[2], found[3], note}
"""

_STORE = """
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[6], 'PX', ARGV[5])
redis.call('HSET', KEYS[2], 'bundle_bytes', ARGV[2], 'recipe_id', ARGV[3], 'recipe', ARGV[4])
redis.call('SET', KEYS[3], ARGV[1])
if redis.call('HEXISTS', KEYS[2], 'pinned') == 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
return 1
"""

_PIN = """
local recipe = redis.call('HGET', KEYS[1], 'recipe_id')
if not recipe then return 0 end
redis.call('HSET', KEYS[1], 'pinned', '1')
redis.call('PERSIST', KEYS[1])
redis.call('SET', ARGV[1] .. 'recipe:' .. recipe, ARGV[2])
return 1
"""

# The list of used bundles may name bytes that the server has evicted itself; then only the total is corrected.
_STORE_BUNDLE = """
local size, budget = tonumber(ARGV[3]), tonumber(ARGV[4])
if size > budget then return 0 end
local now = redis.call('TIME')
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then redis.call('DECRBY', KEYS[4], known) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[6])
redis.call('ZADD', KEYS[2], now[1] * 1000000 + now[2], ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], size)
local total = redis.call('INCRBY', KEYS[4], size)
while total > budget do
  local oldest = redis.call('ZPOPMIN', KEYS[2])[1]
  if not oldest then break end
  local freed = redis.call('HGET', KEYS[3], oldest)
  redis.call('HDEL', KEYS[3], oldest)
  redis.call('UNLINK', ARGV[5] .. 'bundle:' .. oldest)
  total = redis.call('DECRBY', KEYS[4], freed)
end
return 1
"""

_LOAD_BUNDLE = """
local bundle = redis.call('GET', KEYS[1])
if bundle then
  local now = redis.call('TIME')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('ZADD', KEYS[2], 'XX', now[1] * 1000000 + now[2], ARGV[1])
end
return bundle
"""

_STORE_IMPORTED = """
local now = redis.call('TIME')
local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', milliseconds)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('HDEL', KEYS[3], gone)
end
local total = #ARGV[2] - (redis.call('HGET', KEYS[3], ARGV[1]) or 0)
for _, size in ipairs(redis.call('HVALS', KEYS[3])) do total = total + size end
if total > tonumber(ARGV[6]) then return 0 end
redis.call('HSET', KEYS[1], 'bundle', ARGV[2], 'edge_model_id', ARGV[3], 'edge_model_digest', ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], #ARGV[2])
if redis.call('HEXISTS', KEYS[1], 'pinned') == 1 then
  redis.call('ZADD', KEYS[2], 'inf', ARGV[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('ZADD', KEYS[2], milliseconds + ARGV[5], ARGV[1])
end
return 1
"""

_PIN_IMPORTED = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'pinned', '1')
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], 'inf', ARGV[1])
return 1
"""

_SWAP = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'digest', ARGV[3], 'document', ARGV[4])
return 1
"""

_ACQUIRE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""

_STORE_DEVICE = """
local now = redis.call('TIME')
local score = now[1] * 1000000 + now[2]
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', score - ARGV[3] * 1000)
redis.call('ZADD', KEYS[2], score, ARGV[1])
for _, oldest in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - ARGV[4])) do
  redis.call('ZREM', KEYS[2], oldest)
  redis.call('UNLINK', ARGV[5] .. oldest)
end
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1
"""


class RedisStore:
    """`Store` over redis-py's asyncio client.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        limits: Its timeout is for one call: for a free connection, a new one and the answer together.
    """

    def __init__(self, url: str, limits: StoreLimits) -> None:
        # A call that finds no free connection waits; with the plain pool it would fail at once.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_MAX_CONNECTIONS,
            timeout=limits.timeout_seconds,
            socket_timeout=limits.timeout_seconds,
            socket_connect_timeout=limits.timeout_seconds,
            health_check_interval=30,
            # A connection of the pool may have ended meanwhile, with the server for example. Then the call is made once
            # more, on a new one. Every script may run twice.
            retry=Retry(NoBackoff(), 1, supported_errors=(LostConnectionError,)),
        )
        self._redis = Redis.from_pool(pool)
        self._timeout = limits.timeout_seconds
        self._budget = limits.bundle_budget_bytes
        self._import_budget = limits.import_budget_bytes
        self._recipe_ttl_ms = round(limits.recipe_ttl_seconds * 1000)
        self._device_ttl_ms = round(limits.device_ttl_seconds * 1000)
        self._devices_per_channel = limits.devices_per_channel
        self._find = self._redis.register_script(_FIND)
        self._store = self._redis.register_script(_STORE)
        self._pin = self._redis.register_script(_PIN)
        self._store_bundle = self._redis.register_script(_STORE_BUNDLE)
        self._load_bundle = self._redis.register_script(_LOAD_BUNDLE)
        self._store_imported = self._redis.register_script(_STORE_IMPORTED)
        self._pin_imported = self._redis.register_script(_PIN_IMPORTED)
        self._swap = self._redis.register_script(_SWAP)
        self._acquire = self._redis.register_script(_ACQUIRE)
        self._release = self._redis.register_script(_RELEASE)
        self._store_device = self._redis.register_script(_STORE_DEVICE)

    async def find_generation(self, key: str) -> StoredGeneration | None:
        args: list[Any] = [_PREFIX, self._recipe_ttl_ms, _ID_CHARS]
        found = await self._run(self._find(keys=[_key("generation", key)], args=args))
        if not found:
            return None
        lora = _parse_lora(found[0].decode(), *found[1:4])
        return None if lora is None else StoredGeneration(lora, found[4])

    async def store_generation(self, key: str, lora: StoredLora, bundle: bytes, note: bytes = b"") -> None:
        keys = [_key("generation", key), _key("lora", lora.bundle_id), _key("recipe", lora.recipe_id)]
        args: list[Any] = [lora.bundle_id, lora.bundle_bytes, lora.recipe_id, lora.recipe, self._recipe_ttl_ms, note]
        await self._run(self._store(keys=keys, args=args))
        await self.store_bundle(lora.bundle_id, bundle)

    async def load_lora(self, bundle_id: str) -> StoredLora | None:
        found = await self._run(self._redis.hmget(_key("lora", bundle_id), ["bundle_bytes", "recipe_id", "recipe"]))
        return _parse_lora(bundle_id, *found) if any(found) else None

    async def load_recipe(self, recipe_id: str) -> bytes | None:
        bundle_id = await self._run(self._redis.get(_key("recipe", recipe_id)))
        if bundle_id is None:
            return None
        return cast(bytes | None, await self._run(self._redis.hget(_key("lora", bundle_id.decode()), "recipe")))

    async def load_bundle(self, bundle_id: str) -> bytes | None:
        keys = [_key("bundle", bundle_id), _key("bundles", "used")]
        return cast(bytes | None, await self._run(self._load_bundle(keys=keys, args=[bundle_id, self._recipe_ttl_ms])))

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        keys = [_key("bundle", bundle_id), *(_key("bundles", part) for part in ("used", "bytes", "total"))]
        args: list[Any] = [bundle_id, bundle, len(bundle), self._budget, _PREFIX, self._recipe_ttl_ms]
        await self._run(self._store_bundle(keys=keys, args=args))

    async def pin(self, bundle_id: str) -> bool:
        return bool(await self._run(self._pin(keys=[_key("lora", bundle_id)], args=[_PREFIX, bundle_id])))

    async def store_imported(self, imported: StoredImport, bundle: bytes) -> bool:
        keys = [_key("imported", imported.bundle_id), _key("imports", "expires"), _key("imports", "bytes")]
        args: list[Any] = [imported.bundle_id, bundle, imported.edge_model_id, imported.edge_model_digest]
        args += [self._recipe_ttl_ms, self._import_budget]
        return bool(await self._run(self._store_imported(keys=keys, args=args)))

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        key = _key("imported", bundle_id)
        size = await self._run(self._redis.hstrlen(key, "bundle"))
        edge_model = await self._run(self._redis.hmget(key, ["edge_model_id", "edge_model_digest"]))
        if not size or None in edge_model:
            return None
        return StoredImport(bundle_id, size, *(each.decode() for each in edge_model))

    async def load_imported(self, bundle_id: str) -> bytes | None:
        return cast(bytes | None, await self._run(self._redis.hget(_key("imported", bundle_id), "bundle")))

    async def pin_imported(self, bundle_id: str) -> bool:
        keys = [_key("imported", bundle_id), _key("imports", "expires")]
        return bool(await self._run(self._pin_imported(keys=keys, args=[bundle_id])))

    async def load_channel(self, name: str) -> bytes | None:
        return cast(bytes | None, await self._run(self._redis.hget(_key("channel", name), "document")))

    async def load_channel_digest(self, name: str) -> str | None:
        digest = await self._run(self._redis.hget(_key("channel", name), "digest"))
        return None if digest is None else str(digest.decode())

    async def load_channel_version(self, name: str) -> int | None:
        version = await self._run(self._redis.hget(_key("channel", name), "version"))
        return None if version is None else int(version)

    async def swap_channel(self, name: str, expected_version: int, version: int, document: bytes) -> bool:
        args: list[Any] = [expected_version, version, sha256_hex(document), document]
        return bool(await self._run(self._swap(keys=[_key("channel", name)], args=args)))

    async def acquire_lease(self, key: str, owner: str, seconds: float) -> bool:
        return bool(await self._run(self._acquire(keys=[_key("lease", key)], args=[owner, round(seconds * 1000)])))

    async def release_lease(self, key: str, owner: str) -> None:
        await self._run(self._release(keys=[_key("lease", key)], args=[owner]))

    async def store_device(self, channel: str, device_id: str, report: bytes) -> None:
        keys = [_key("device", f"{channel}:{device_id}"), _key("devices", channel)]
        prefix = _key("device", f"{channel}:")
        args: list[Any] = [device_id, report, self._device_ttl_ms, self._devices_per_channel, prefix]
        await self._run(self._store_device(keys=keys, args=args))

    async def load_devices(self, channel: str, limit: int, before: int | None = None) -> list[StoredReport]:
        newest = "+inf" if before is None else f"({before}"
        listed = await self._run(
            self._redis.zrevrangebyscore(_key("devices", channel), newest, "-inf", 0, limit, withscores=True)
        )
        keys = [_key("device", f"{channel}:{device_id.decode()}") for device_id, _ in listed]
        reports = await self._run(self._redis.mget(keys)) if keys else []
        return [StoredReport(int(score), report or b"") for (_, score), report in zip(listed, reports, strict=True)]

    async def verify_writable(self) -> None:
        await self._run(self._redis.set(_key("writable", "yes"), b"", px=_WRITABLE_MS))

    async def aclose(self) -> None:
        await self._redis.aclose()

    async def _run(self, call: Any) -> Any:
        try:
            async with waiting(self._timeout):
                # redis-py types its blocking and its asyncio client alike, so mypy cannot know what is awaitable.
                return await cast(Awaitable[Any], call)
        except (RedisError, OSError, TimeoutError) as e:
            raise unavailable("redis", e) from e


def _parse_lora(
    bundle_id: str, bundle_bytes: bytes | None, recipe_id: bytes | None, recipe: bytes | None
) -> StoredLora | None:
    try:
        if bundle_bytes is None or recipe_id is None or recipe is None:
            raise ValueError("a field is missing")
        return StoredLora(bundle_id, int(bundle_bytes), recipe_id.decode(), recipe)
    except ValueError as e:
        # Treated as absent, so that a new generation replaces it.
        _log.error("stored_lora_damaged", bundle_id=bundle_id, reason=str(e))
        return None


def _key(kind: str, name: str) -> str:
    return f"{_PREFIX}{kind}:{name}"
