"""The store in Redis or Valkey, shared by all replicas.

All keys begin with `{loragen}:`; those of channels and devices are in `redis_fleet`, those of imported bundles in
`redis_imports`.

    generation:<key>    id of the recipe that a request led to, then its note      expires
    recipe:<recipe id>  hash: recipe, bundle_bytes, pinned, the last generation,
                        and bundle_id once the bundle was made                     expires unless pinned
    lora:<bundle id>    hash: recipe_id                                            expires with its recipe
    bundle:<bundle id>  the bytes                                                  expires
    bundles:used        sorted set of bundle ids by last use, in microseconds
    bundles:bytes       hash: length of each bundle
    bundles:total       sum of these lengths
    pins:used           sorted set of pinned bundle ids by the time of their last pinning, in microseconds
    lease:<key>         owner                                                      expires
    writable:yes        nothing; written to see whether the server takes it        expires

Changes that must happen in one step are scripts. Run the server with `appendonly yes`, or a restart loses the data,
and with a `maxmemory` and `volatile-lru`: everything that can be made again expires, so a full server evicts only that,
never a channel or a pinned recipe. Any key may be gone while others are still there.
"""

from typing import Any, cast

import structlog

from cloud_service.store.imports import StoredImport
from cloud_service.store.port import NOBODYS_SECONDS, StoredGeneration, StoredLora, StoredRecipe, StoreLimits
from cloud_service.store.redis_access import RedisAccess
from cloud_service.store.redis_fleet import RedisChannels, RedisDevices
from cloud_service.store.redis_imports import EXPIRES, LENGTHS, PINS, RedisImports
from cloud_service.store.redis_jobs import RedisJobs
from cloud_service.store.redis_server import PREFIX, RedisServer
from cloud_service.store.redis_server import key as _key
from cloud_service.store.redis_sessions import RedisSessions
from cloud_service.store.redis_shares import DUE, EXPIRING, HOLDING, LOOK_MS, SIZES, held_by

_log = structlog.get_logger(__name__)

_NOBODYS_MS = round(NOBODYS_SECONDS * 1000)

_WRITABLE_MS = 60_000
"""Nobody reads what is written to see whether the server takes it."""

_ID_CHARS = 64
"""Ids are sha256 in hexadecimal; in a generation's value the note follows the id."""

# Reads what a request led to, and renews the time to live of everything that belongs to it: after a tenth of that time,
# since otherwise every cached answer would be a write.
_FIND = f"""{EXPIRING}
local value = redis.call('GET', KEYS[1])
if not value then return false end
local id, note = string.sub(value, 1, ARGV[3]), string.sub(value, ARGV[3] + 1)
local recipe = ARGV[1] .. 'recipe:' .. id
local found = redis.call('HMGET', recipe, 'recipe', 'bundle_bytes')
if not found[1] then return false end
if redis.call('PTTL', KEYS[1]) < 0.9 * ARGV[2] and not is_nobodys(recipe) then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  keep(ARGV[1], recipe, ARGV[2])
end
return {{id, found[1], found[2], note}}
"""

# KEYS: generation, recipe, and of a tenant what it holds.
# ARGV: recipe id, recipe, bundle's length, time to live, note, key prefix, the owner's field; of a tenant the longest
# time until what it holds is looked at, its most bytes; the generation.
_STORE = f"""{HOLDING}
if #KEYS > 2 then
  local member = 'recipe:' .. ARGV[1]
  local size = string.len(ARGV[2])
  if not hold(KEYS[3], KEYS[4], KEYS[5], ARGV[6], ARGV[7], ARGV[8], member, size, ARGV[9]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[5], 'PX', ARGV[4])
redis.call('HSET', KEYS[2], 'recipe', ARGV[2], 'bundle_bytes', ARGV[3], 'generation', ARGV[10])
redis.call('HSETNX', KEYS[2], ARGV[7], '0')
if redis.call('HEXISTS', KEYS[2], 'pinned') == 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
  local bundle = redis.call('HGET', KEYS[2], 'bundle_id')
  if bundle then redis.call('PEXPIRE', ARGV[6] .. 'lora:' .. bundle, ARGV[4]) end
end
return 1
"""

_NAME_BUNDLE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[3] ~= 'owner:' then
  if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 0 then return 0 end
  redis.call('HSETNX', KEYS[2], ARGV[3], '0')
end
redis.call('HSET', KEYS[1], 'bundle_id', ARGV[2])
redis.call('HSET', KEYS[2], 'recipe_id', ARGV[1])
local left = redis.call('PTTL', KEYS[1])
if left >= 0 then redis.call('PEXPIRE', KEYS[2], left) end
return 1
"""

# Both ways to a LoRA end at a bundle that can be pinned: one whose key is gone has to be named again.
_LOAD_LORA = """
local id = redis.call('HGET', KEYS[1], 'recipe_id') or ARGV[2]
local found = redis.call('HMGET', ARGV[1] .. 'recipe:' .. id, 'recipe', 'bundle_bytes', 'bundle_id')
if not found[3] or redis.call('EXISTS', ARGV[1] .. 'lora:' .. found[3]) == 0 then return false end
return {id, found[1], found[2], found[3]}
"""

_PIN = """
local recipe = redis.call('HGET', KEYS[1], 'recipe_id')
if not recipe then return 0 end
recipe = ARGV[1] .. 'recipe:' .. recipe
if redis.call('EXISTS', recipe) == 0 then return 0 end
if ARGV[3] ~= 'owner:' then
  for _, owned in ipairs({recipe, KEYS[1]}) do
    if redis.call('HEXISTS', owned, ARGV[3]) == 0 then return 0 end
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('HSET', recipe, 'pinned', '1', ARGV[3], now)
redis.call('HSET', KEYS[1], ARGV[3], now)
redis.call('PERSIST', recipe)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[2], now, ARGV[2])
return 1
"""

_UNPIN = f"""{EXPIRING}
local pinned = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not pinned or tonumber(pinned) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
local recipe = redis.call('HGET', KEYS[2], 'recipe_id')
if recipe and redis.call('HDEL', ARGV[4] .. 'recipe:' .. recipe, 'pinned') == 1 then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', ARGV[4] .. 'recipe:' .. recipe, ARGV[3])
  hasten(ARGV[4], ARGV[4] .. 'recipe:' .. recipe, ARGV[5])
end
if redis.call('HDEL', KEYS[3], 'pinned') == 1 then
  local now = redis.call('TIME')
  redis.call('PEXPIRE', KEYS[3], ARGV[3])
  redis.call('ZADD', KEYS[4], now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3], ARGV[1])
end
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

# Bundles that were not read for the time to live have expired by themselves; they still count in the total. So many are
# taken out at once that nobody waits long.
_PRUNE_BUNDLES = """
local now = redis.call('TIME')
local oldest = now[1] * 1000000 + now[2] - ARGV[2] * 1000
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', oldest, 'LIMIT', 0, 500)
for _, id in ipairs(expired) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('DECRBY', KEYS[3], redis.call('HGET', KEYS[2], id) or 0)
  redis.call('HDEL', KEYS[2], id)
  redis.call('UNLINK', ARGV[1] .. 'bundle:' .. id)
end
return #expired
"""

# KEYS: recipe, LoRA and import of the id, times and lengths of imports, pins.
# ARGV: key prefix, the id, the owner's field, microseconds since the last pin, prefixes of what tenants hold, how long
# a recipe is kept that is nobody's.
# The bytes of an import are freed a second later, so that no time tells whether another tenant has the same bundle.
_DISOWN = f"""{HOLDING}{EXPIRING}
local bundle = redis.call('HGET', KEYS[1], 'bundle_id') or ARGV[2]
local recipe = redis.call('HGET', KEYS[2], 'recipe_id') or ARGV[2]
local time = redis.call('TIME')
local since = time[1] * 1000000 + time[2] - ARGV[4]
local generated = {{ARGV[1] .. 'recipe:' .. recipe, ARGV[1] .. 'lora:' .. bundle}}
local function owners(key)
  local found = {{}}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 6) == 'owner:' then table.insert(found, field) end
  end
  return found
end
local owned = {{}}
for _, key in ipairs({{generated[1], generated[2], KEYS[3]}}) do
  for _, field in ipairs(owners(key)) do
    if ARGV[3] == 'owner:' or field == ARGV[3] then
      if tonumber(redis.call('HGET', key, field)) > since then return 0 end
      table.insert(owned, {{key, field}})
    end
  end
end
for _, each in ipairs(owned) do
  redis.call('HDEL', each[1], each[2])
  local tenant = string.sub(each[2], 7)
  let_go(ARGV[5] .. tenant, ARGV[6] .. tenant, string.sub(each[1], #ARGV[1] + 1))
end
if ARGV[3] == 'owner:' then
  redis.call('UNLINK', generated[1], generated[2])
  redis.call('ZREM', KEYS[6], bundle)
end
hasten(ARGV[1], generated[1], ARGV[7])
if redis.call('EXISTS', KEYS[3]) == 1 and #owners(KEYS[3]) == 0 then
  local gone = ARGV[1] .. 'gone:' .. ARGV[2]
  redis.call('RENAME', KEYS[3], gone)
  redis.call('PEXPIRE', gone, 1000)
  redis.call('ZREM', KEYS[4], ARGV[2])
  redis.call('HDEL', KEYS[5], ARGV[2])
  redis.call('ZREM', KEYS[6], ARGV[2])
end
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


class RedisStore:
    """`Store` over redis-py's asyncio client.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        limits: Its timeout is for one call: for a free connection, a new one and the answer together.
    """

    def __init__(self, url: str, limits: StoreLimits) -> None:
        self._server = RedisServer(url, limits.timeout_seconds)
        self._redis, self._run = self._server.client, self._server.run
        self.channels = RedisChannels(
            self._server,
            limits.versions_per_channel,
            limits.events_per_channel,
            limits.channels_per_tenant,
            limits.events_per_tenant,
            limits.bytes_per_tenant,
        )
        self._recipe_ttl_ms = round(limits.recipe_ttl_seconds * 1000)
        self.access = RedisAccess(
            self._server, limits.bytes_per_tenant, self._recipe_ttl_ms, limits.keys_per_tenant, limits.audit_entries
        )
        self.sessions = RedisSessions(self._server)
        self.devices = RedisDevices(
            self._server, limits.device_ttl_seconds, limits.devices_per_channel, limits.devices_per_tenant
        )
        self.jobs = RedisJobs(self._server, limits.job_seconds, limits.jobs_kept)
        self._imports = RedisImports(
            self._server, limits.import_budget_bytes, limits.recipe_ttl_seconds, limits.bytes_per_tenant
        )
        self._budget = limits.bundle_budget_bytes
        self._bytes_per_tenant = limits.bytes_per_tenant
        self._find = self._server.script(_FIND)
        self._store = self._server.script(_STORE)
        self._name = self._server.script(_NAME_BUNDLE)
        self._load_lora = self._server.script(_LOAD_LORA)
        self._pin = self._server.script(_PIN)
        self._store_bundle = self._server.script(_STORE_BUNDLE)
        self._load_bundle = self._server.script(_LOAD_BUNDLE)
        self._disown = self._server.script(_DISOWN)
        self._prune_bundles = self._server.script(_PRUNE_BUNDLES)
        self._unpin = self._server.script(_UNPIN)
        self._acquire = self._server.script(_ACQUIRE)
        self._release = self._server.script(_RELEASE)

    async def find_generation(self, key: str) -> StoredGeneration | None:
        args: list[Any] = [PREFIX, self._recipe_ttl_ms, _ID_CHARS]
        found = await self._run(self._find(keys=[_key("generation", key)], args=args))
        if not found:
            return None
        recipe = _parse_recipe(found[0].decode(), *found[1:3])
        return None if recipe is None else StoredGeneration(recipe, found[3])

    async def store_generation(self, key: str, recipe: StoredRecipe, note: bytes = b"", tenant: str = "") -> bool:
        keys = [_key("generation", key), _key("recipe", recipe.recipe_id), *held_by(tenant)]
        args: list[Any] = [recipe.recipe_id, recipe.recipe, recipe.bundle_bytes, self._recipe_ttl_ms, note, PREFIX]
        args += [f"owner:{tenant}", min(self._recipe_ttl_ms, LOOK_MS), self._bytes_per_tenant, key]
        return bool(await self._run(self._store(keys=keys, args=args)))

    async def name_bundle(self, recipe_id: str, bundle_id: str, tenant: str = "") -> bool:
        keys = [_key("recipe", recipe_id), _key("lora", bundle_id)]
        return bool(await self._run(self._name(keys=keys, args=[recipe_id, bundle_id, f"owner:{tenant}"])))

    async def load_lora(self, either_id: str) -> StoredLora | None:
        found = await self._run(self._load_lora(keys=[_key("lora", either_id)], args=[PREFIX, either_id]))
        recipe = _parse_recipe(found[0].decode(), *found[1:3]) if found else None
        if recipe is None:
            return None
        return StoredLora(recipe.recipe_id, recipe.recipe, recipe.bundle_bytes, found[3].decode())

    async def load_recipe(self, recipe_id: str) -> bytes | None:
        return cast(bytes | None, await self._run(self._redis.hget(_key("recipe", recipe_id), "recipe")))

    async def load_bundle(self, bundle_id: str) -> bytes | None:
        keys = [_key("bundle", bundle_id), _key("bundles", "used")]
        return cast(bytes | None, await self._run(self._load_bundle(keys=keys, args=[bundle_id, self._recipe_ttl_ms])))

    async def store_bundle(self, bundle_id: str, bundle: bytes) -> None:
        keys = [_key("bundle", bundle_id), *(_key("bundles", part) for part in ("used", "bytes", "total"))]
        args: list[Any] = [bundle_id, bundle, len(bundle), self._budget, PREFIX, self._recipe_ttl_ms]
        await self._run(self._store_bundle(keys=keys, args=args))

    async def pin(self, bundle_id: str, tenant: str = "") -> bool:
        keys, args = [_key("lora", bundle_id), PINS], [PREFIX, bundle_id, f"owner:{tenant}"]
        return bool(await self._run(self._pin(keys=keys, args=args)))

    async def store_imported(self, imported: StoredImport, bundle: bytes | None, tenant: str = "") -> bool:
        return await self._imports.store_imported(imported, bundle, tenant)

    async def find_imported(self, bundle_id: str) -> StoredImport | None:
        return await self._imports.find_imported(bundle_id)

    async def load_imported(self, bundle_id: str) -> bytes | None:
        return await self._imports.load_imported(bundle_id)

    async def pin_imported(self, bundle_id: str, tenant: str = "") -> bool:
        return await self._imports.pin_imported(bundle_id, tenant)

    async def disown(self, tenant: str, either_id: str, settled_seconds: float) -> bool:
        keys = [_key(kind, either_id) for kind in ("recipe", "lora", "imported")]
        keys += [EXPIRES, LENGTHS, PINS]
        args: list[Any] = [PREFIX, either_id, f"owner:{tenant}", round(settled_seconds * 1e6), DUE, SIZES, _NOBODYS_MS]
        return bool(await self._run(self._disown(keys=keys, args=args)))

    async def list_pinned(self, before: int) -> list[str]:
        pinned = await self._run(self._redis.zrangebyscore(PINS, "-inf", f"({before}"))
        return [bundle_id.decode() for bundle_id in pinned]

    async def unpin(self, bundle_id: str, before: int) -> None:
        keys = [PINS, _key("lora", bundle_id), _key("imported", bundle_id), EXPIRES]
        args: list[Any] = [bundle_id, before, self._recipe_ttl_ms, PREFIX, _NOBODYS_MS]
        await self._run(self._unpin(keys=keys, args=args))

    async def acquire_lease(self, key: str, owner: str, seconds: float) -> bool:
        return bool(await self._run(self._acquire(keys=[_key("lease", key)], args=[owner, round(seconds * 1000)])))

    async def release_lease(self, key: str, owner: str) -> None:
        await self._run(self._release(keys=[_key("lease", key)], args=[owner]))

    async def prune(self) -> None:
        bundles = [_key("bundles", part) for part in ("used", "bytes", "total")]
        while await self._run(self._prune_bundles(keys=bundles, args=[PREFIX, self._recipe_ttl_ms])):
            pass
        await self._imports.prune()
        await self.jobs.prune()
        await self.access.prune()

    async def verify_supported(self) -> None:
        await self._server.verify_supported()

    async def verify_writable(self) -> None:
        await self._run(self._redis.set(_key("writable", "yes"), b"", px=_WRITABLE_MS))

    async def aclose(self) -> None:
        await self._server.aclose()


def _parse_recipe(recipe_id: str, recipe: bytes | None, bundle_bytes: bytes | None) -> StoredRecipe | None:
    try:
        if bundle_bytes is None or recipe is None:
            raise ValueError("a field is missing")
        return StoredRecipe(recipe_id, recipe, int(bundle_bytes))
    except ValueError as e:
        # Treated as absent, so that a new generation replaces it.
        _log.error("stored_recipe_damaged", recipe_id=recipe_id, reason=str(e))
        return None
