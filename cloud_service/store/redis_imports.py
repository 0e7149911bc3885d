"""Bundles that users imported, in Redis.

imported:<bundle id>    hash: bundle_bytes, bundle, edge_model_id, edge_model_digest, pinned   expires unless pinned
gone:<bundle id>        one that was deleted                                                   expires
imports:expires         sorted set of their ids by the millisecond in which they expire
imports:bytes           hash: length of each of them
"""

from typing import Any, cast

from cloud_service.store.imports import StoredImport
from cloud_service.store.redis_server import PREFIX, RedisServer, key
from cloud_service.store.redis_shares import HOLDING, LOOK_MS, held_by

EXPIRES, LENGTHS = key("imports", "expires"), key("imports", "bytes")
PINS = key("pins", "used")
"""The pins of all bundles, generated ones too."""

# Forgets imports that have expired: by the times at which they do, and their lengths. Sets `milliseconds` to now.
_EXPIRE = """
local now = redis.call('TIME')
local milliseconds = now[1] * 1000 + math.floor(now[2] / 1000)
local function expire(times, lengths)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', milliseconds)) do
    redis.call('ZREM', times, gone)
    redis.call('HDEL', lengths, gone)
  end
end
"""

_PRUNE = f"""{_EXPIRE}
expire(KEYS[1], KEYS[2])
return 1
"""

_STORE = f"""{_EXPIRE}{HOLDING}
expire(KEYS[2], KEYS[3])
local total = ARGV[7] - (redis.call('HGET', KEYS[3], ARGV[1]) or 0)
for _, size in ipairs(redis.call('HVALS', KEYS[3])) do total = total + size end
if total > tonumber(ARGV[6]) then return 0 end
if #KEYS > 3 then
  local member = 'imported:' .. ARGV[1]
  if not hold(KEYS[4], KEYS[5], KEYS[6], ARGV[9], ARGV[8], ARGV[10], member, ARGV[7], ARGV[11]) then return 0 end
end
redis.call('HSET', KEYS[1], 'bundle_bytes', ARGV[7], 'bundle', ARGV[2])
redis.call('HSET', KEYS[1], 'edge_model_id', ARGV[3], 'edge_model_digest', ARGV[4])
redis.call('HSETNX', KEYS[1], ARGV[8], '0')
redis.call('HSET', KEYS[3], ARGV[1], ARGV[7])
if redis.call('HEXISTS', KEYS[1], 'pinned') == 1 then
  redis.call('ZADD', KEYS[2], 'inf', ARGV[1])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('ZADD', KEYS[2], milliseconds + ARGV[5], ARGV[1])
end
return 1
"""

_PIN = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[2] ~= 'owner:' and redis.call('HEXISTS', KEYS[1], ARGV[2]) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('HSET', KEYS[1], 'pinned', '1', ARGV[2], now)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], 'inf', ARGV[1])
redis.call('ZADD', KEYS[3], now, ARGV[1])
return 1
"""


class RedisImports:
    """`ImportStore` in Redis.

    Args:
        server: Where it is.
        budget_bytes: Largest sum of the lengths of all of them.
        ttl_seconds: How long one is kept that no channel names.
        bytes_per_tenant: Most that one tenant has, with its recipes.
    """

    def __init__(self, server: RedisServer, budget_bytes: int, ttl_seconds: float, bytes_per_tenant: int) -> None:
        self._bytes_per_tenant = bytes_per_tenant
        self._redis, self._run = server.client, server.run
        self._budget = budget_bytes
        self._ttl_ms = round(ttl_seconds * 1000)
        self._store = server.script(_STORE)
        self._pin = server.script(_PIN)
        self._prune = server.script(_PRUNE)

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        keys = [key("imported", imported.bundle_id), EXPIRES, LENGTHS, *held_by(tenant)]
        args: list[Any] = [imported.bundle_id, bundle or b"", imported.edge_model_id, imported.edge_model_digest]
        args += [self._ttl_ms, self._budget, imported.bundle_bytes, f"owner:{tenant}"]
        args += [PREFIX, min(self._ttl_ms, LOOK_MS), self._bytes_per_tenant]
        return bool(await self._run(self._store(keys=keys, args=args)))

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        fields = ["bundle_bytes", "edge_model_id", "edge_model_digest"]
        found = await self._run(self._redis.hmget(key("imported", bundle_id), fields))
        if None in found:
            return None
        return StoredImport(bundle_id, int(found[0]), *(each.decode() for each in found[1:]))

    async def load_imported(self, bundle_id: str) -> bytes | None:
        bundle = await self._run(self._redis.hget(key("imported", bundle_id), "bundle"))
        return cast(bytes | None, bundle or None)

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        keys = [key("imported", bundle_id), EXPIRES, PINS]
        return bool(await self._run(self._pin(keys=keys, args=[bundle_id, f"owner:{tenant}"])))

    async def prune(self) -> None:
        """Take what has expired out of the budget."""
        await self._run(self._prune(keys=[EXPIRES, LENGTHS]))
