"""What `cloud_service.access` keeps, in Redis.

    keys:ids            sorted set of the ids of API keys, all with the score 0
    keys:of:<tenant>    those of one tenant, once more
    keys:ends:<tenant>  sorted set of those that end, by the second of it
    key:<id>            a key
    audit:number        number of the last entry
    audit:all           stream of entries by their numbers, each with its millisecond
    audit:of:<tenant>   those of one tenant, or of the operator, once more
    audit:tenants       set of the tenants that have any
    counter:<name>      a counter                                                  expires

Whose a recipe or a bundle is, is a field of its own hash (`redis`), `owner:<tenant>`, and expires with it. Its value is
the microsecond at which it was pinned last for that tenant, or 0.
"""

from collections.abc import Sequence
from typing import Any, cast

from cloud_service.store.access import FORGOTTEN_AT_ONCE, Share, StoredEntry
from cloud_service.store.redis_server import PREFIX, RedisServer, key
from cloud_service.store.redis_shares import EXPIRING, HELD, HOLDING, LOOK_MS, TENANTS, held_by

_IDS = key("keys", "ids")
_NUMBER, _ALL, _TENANTS = key("audit", "number"), key("audit", "all"), key("audit", "tenants")

# KEYS: key, ids, those of the tenant, those of it that end.
# ARGV: expected, record, id, when it ends or nothing, most keys of the tenant, prefix of keys.
_SWAP = """
local record = redis.call('GET', KEYS[1])
if (record or '') ~= ARGV[1] then return 0 end
local most = tonumber(ARGV[5])
if not record and most > 0 and redis.call('ZCARD', KEYS[3]) >= most then
  local ended = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', redis.call('TIME')[1], 'LIMIT', 0, 1)[1]
  if not ended then return 0 end
  redis.call('DEL', ARGV[6] .. ended)
  for place = 2, 4 do redis.call('ZREM', KEYS[place], ended) end
end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], 0, ARGV[3])
redis.call('ZADD', KEYS[3], 0, ARGV[3])
if ARGV[4] == '' then redis.call('ZREM', KEYS[4], ARGV[3]) else redis.call('ZADD', KEYS[4], ARGV[4], ARGV[3]) end
return 1
"""

_FORGET_KEY = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('ZCARD', KEYS[2]) < 2 then return 0 end
for place = 2, 4 do redis.call('ZREM', KEYS[place], ARGV[2]) end
return redis.call('DEL', KEYS[1])
"""

# KEYS: number, tenants, all entries, those of the tenant.
# ARGV: entry, millisecond, tenant, most entries of the tenant, most that make room.
_APPEND = """
local number = redis.call('INCR', KEYS[1])
for place = 3, 4 do redis.call('XADD', KEYS[place], number .. '-1', 'entry', ARGV[1], 'at', ARGV[2]) end
redis.call('SADD', KEYS[2], ARGV[3])
local gone, excess = {}, redis.call('XLEN', KEYS[4]) - ARGV[4]
if tonumber(ARGV[4]) > 0 and excess > 0 then
  for _, oldest in ipairs(redis.call('XRANGE', KEYS[4], '-', '+', 'COUNT', math.min(excess, ARGV[5]))) do
    for place = 3, 4 do redis.call('XDEL', KEYS[place], oldest[1]) end
    table.insert(gone, oldest[2][2])
  end
end
return gone
"""

_FORGET_TENANT = """
if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
redis.call('DEL', KEYS[1])
return redis.call('SREM', KEYS[2], ARGV[1])
"""

# KEYS: recipe, LoRA and import of the id, then what the tenant holds.
# ARGV: the owner's field, key prefix, the id, longest time until a look, most bytes, time to live of a recipe: it may
# have been nobody's, and then expires soon.
_OWN = f"""{HOLDING}{EXPIRING}
local function holds(kind, size)
  return hold(KEYS[4], KEYS[5], KEYS[6], ARGV[2], ARGV[1], ARGV[4], kind .. ':' .. ARGV[3], size, ARGV[5])
end
local recipe = redis.call('HSTRLEN', KEYS[1], 'recipe')
if recipe > 0 and not holds('recipe', recipe) then return 0 end
local imported = redis.call('HGET', KEYS[3], 'bundle_bytes')
if imported and not holds('imported', imported) then return 0 end
for place = 1, 3 do
  if redis.call('EXISTS', KEYS[place]) == 1 then redis.call('HSETNX', KEYS[place], ARGV[1], '0') end
end
if redis.call('PTTL', KEYS[1]) < 0.9 * ARGV[6] then keep(ARGV[2], KEYS[1], ARGV[6]) end
return 1
"""

_OWNS = """
for place = 1, #KEYS do
  if redis.call('HEXISTS', KEYS[place], ARGV[1]) == 1 then return 1 end
end
return 0
"""

_COUNT = """
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return value
"""


class RedisAccess:
    """`AccessStore` in Redis.

    Args:
        server: Where it is.
        most_bytes: Of one tenant.
        ttl_ms: Shortest time after which recipes and imported bundles expire.
        most_keys: Of one tenant.
        most_entries: Of the audit log, of one tenant or of the operator.
    """

    def __init__(self, server: RedisServer, most_bytes: int, ttl_ms: int, most_keys: int, most_entries: int) -> None:
        self._most_bytes = most_bytes
        self._most_keys, self._most_entries = most_keys, most_entries
        self._ttl_ms = ttl_ms
        self._look_ms = min(ttl_ms, LOOK_MS)
        self._run = server.run
        self._redis = server.client
        self._swap = server.script(_SWAP)
        self._forget_key = server.script(_FORGET_KEY)
        self._forget_tenant = server.script(_FORGET_TENANT)
        self._append = server.script(_APPEND)
        self._own = server.script(_OWN)
        self._owns = server.script(_OWNS)
        self._held = server.script(HELD)
        self._count = server.script(_COUNT)

    async def load_key(self, key_id: str) -> bytes | None:
        return cast(bytes | None, await self._run(self._redis.get(key("key", key_id))))

    async def load_keys(self, key_ids: Sequence[str]) -> list[bytes | None]:
        found = await self._run(self._redis.mget([key("key", key_id) for key_id in key_ids])) if key_ids else []
        return cast(list[bytes | None], found)

    async def swap_key(
        self, key_id: str, expected: bytes | None, record: bytes, tenant: str = "", ends_at: int | None = None
    ) -> bool:
        args: list[Any] = [expected or b"", record, key_id, "" if ends_at is None else ends_at]
        args += [self._most_keys if tenant else 0, key("key", "")]
        return bool(await self._run(self._swap(keys=_key_keys(key_id, tenant), args=args)))

    async def forget_key(self, key_id: str, expected: bytes, tenant: str = "") -> bool:
        return bool(await self._run(self._forget_key(keys=_key_keys(key_id, tenant), args=[expected, key_id])))

    async def list_keys(self, limit: int, after: str = "", tenant: str = "") -> list[bytes]:
        listing, first = _keys_of(tenant) if tenant else _IDS, f"({after}" if after else "-"
        ids = await self._run(self._redis.zrangebylex(listing, first, "+", 0, limit))
        records = await self._run(self._redis.mget([key("key", each.decode()) for each in ids])) if ids else []
        return [record for record in records if record is not None]

    async def has_keys(self) -> bool:
        return bool(await self._run(self._redis.exists(_IDS)))

    async def key_share(self, tenant: str) -> Share:
        return Share(int(await self._run(self._redis.zcard(_keys_of(tenant)))), self._most_keys)

    async def append_entry(self, tenant: str, at: float, entry: bytes) -> list[bytes]:
        args: list[Any] = [entry, round(at * 1000), tenant, self._most_entries, FORGOTTEN_AT_ONCE]
        return list(await self._run(self._append(keys=[_NUMBER, _TENANTS, _ALL, _of(tenant)], args=args)))

    async def forget_entries(self, before: float) -> None:
        tenants = await self._run(self._redis.smembers(_TENANTS))
        streams = {_of(tenant.decode()): tenant for tenant in tenants}
        for stream in (_ALL, *streams):
            while True:
                oldest = await self._run(self._redis.xrange(stream, "-", "+", FORGOTTEN_AT_ONCE))
                old = [number for number, fields in oldest if int(fields[b"at"]) < before * 1000]
                if old:
                    await self._run(self._redis.xdel(stream, *old))
                if len(old) < FORGOTTEN_AT_ONCE:
                    break
            if stream in streams:
                await self._run(self._forget_tenant(keys=[stream, _TENANTS], args=[streams[stream]]))

    async def list_entries(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredEntry]:
        stream, newest = _of(tenant) if tenant else _ALL, "+" if before is None else f"({before}-0"
        entries = await self._run(self._redis.xrevrange(stream, newest, "-", limit))
        return [StoredEntry(int(number.split(b"-")[0]), fields[b"entry"]) for number, fields in entries]

    async def own(self, tenant: str, artifact_id: str) -> bool:
        args: list[Any] = [f"owner:{tenant}", PREFIX, artifact_id, self._look_ms, self._most_bytes, self._ttl_ms]
        return bool(await self._run(self._own(keys=[*_owned(artifact_id), *held_by(tenant)], args=args)))

    async def share(self, tenant: str) -> Share:
        return Share((await self._look(tenant))[0], self._most_bytes)

    async def prune(self) -> None:
        """Count no more what tenants held that has expired."""
        for tenant in await self._run(self._redis.smembers(TENANTS)):
            while (await self._look(tenant.decode()))[1]:
                pass

    async def owns(self, tenant: str, artifact_id: str) -> bool:
        return bool(await self._run(self._owns(keys=_owned(artifact_id), args=[f"owner:{tenant}"])))

    async def _look(self, tenant: str) -> tuple[int, int]:
        held = self._held(keys=held_by(tenant), args=[PREFIX, f"owner:{tenant}", self._look_ms])
        used, due = await self._run(held)
        return used, due

    async def count(self, name: str, amount: int, ttl_seconds: int) -> int:
        return int(await self._run(self._count(keys=[key("counter", name)], args=[amount, ttl_seconds])))


def _owned(artifact_id: str) -> list[str]:
    return [key(kind, artifact_id) for kind in ("recipe", "lora", "imported")]


def _key_keys(key_id: str, tenant: str) -> list[str]:
    return [key("key", key_id), _IDS, _keys_of(tenant), key("keys", f"ends:{tenant}")]


def _keys_of(tenant: str) -> str:
    return key("keys", f"of:{tenant}")


def _of(tenant: str) -> str:
    return key("audit", f"of:{tenant}")
