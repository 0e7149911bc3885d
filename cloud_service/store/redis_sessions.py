"""Sessions in Redis.

session:<digest>    id of the API key                                           expires
sessions:<key id>   sorted set of the digests of its sessions by their ends     expires
"""

from typing import Any

from cloud_service.store.redis_server import PREFIX, RedisServer, key

_STORE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + ARGV[3], ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[3])
while redis.call('ZCARD', KEYS[2]) > tonumber(ARGV[4]) do
  redis.call('DEL', ARGV[5] .. 'session:' .. redis.call('ZPOPMIN', KEYS[2])[1])
end
return 1
"""


class RedisSessions:
    """`SessionStore` in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._redis, self._run = server.client, server.run
        self._store = server.script(_STORE)

    async def store_session(self, digest: str, key_id: str, ttl_seconds: int, most: int) -> None:
        args: list[Any] = [digest, key_id, ttl_seconds, most, PREFIX]
        await self._run(self._store(keys=[key("session", digest), key("sessions", key_id)], args=args))

    async def load_session(self, digest: str) -> str | None:
        found = await self._run(self._redis.get(key("session", digest)))
        return None if found is None else str(found.decode())

    async def delete_session(self, digest: str) -> None:
        await self._run(self._redis.delete(key("session", digest)))
