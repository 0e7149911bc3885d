"""Sessions in Redis.

session:<digest>    id of the API key     expires
"""

from cloud_service.store.redis_server import RedisServer, key


class RedisSessions:
    """`SessionStore` in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._redis, self._run = server.client, server.run

    async def store_session(self, digest: str, key_id: str, ttl_seconds: int) -> None:
        await self._run(self._redis.set(key("session", digest), key_id, ex=ttl_seconds))

    async def load_session(self, digest: str) -> str | None:
        found = await self._run(self._redis.get(key("session", digest)))
        return None if found is None else str(found.decode())

    async def delete_session(self, digest: str) -> None:
        await self._run(self._redis.delete(key("session", digest)))
