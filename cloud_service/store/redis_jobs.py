"""Jobs in Redis.

job:<id>        hash: version, created, document                                expires
jobs:created    sorted set of job ids by the microsecond they were made in      expires
"""

from typing import Any

from cloud_service.store.jobs import StoredJob
from cloud_service.store.redis_server import RedisServer, key

_CREATED = key("jobs", "created")

_SWAP_JOB = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'created', ARGV[3], 'document', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[6])
for _, oldest in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1 - ARGV[7])) do
  redis.call('ZREM', KEYS[2], oldest)
  redis.call('UNLINK', ARGV[8] .. oldest)
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 1
"""


class RedisJobs:
    """`JobStore` in Redis.

    Args:
        server: Where they are.
        seconds: How long a job is kept after its last change.
        most: Jobs that are kept.
    """

    def __init__(self, server: RedisServer, seconds: float, most: int) -> None:
        self._redis, self._run = server.client, server.run
        self._milliseconds, self._most = round(seconds * 1000), most
        self._swap = server.script(_SWAP_JOB)

    async def load_job(self, job_id: str) -> StoredJob | None:
        found = await self._run(self._redis.hmget(key("job", job_id), ["version", "created", "document"]))
        return None if None in found else StoredJob(job_id, int(found[0]), int(found[1]), found[2])

    async def load_jobs(self, limit: int, before: int | None = None) -> list[StoredJob]:
        newest = "+inf" if before is None else f"({before}"
        listed = await self._run(self._redis.zrevrangebyscore(_CREATED, newest, "-inf", 0, limit, withscores=True))
        jobs = []
        for name, created in listed:
            job = await self.load_job(name.decode())
            jobs.append(job or StoredJob(name.decode(), 0, int(created), b""))
        return jobs

    async def swap_job(self, job: StoredJob) -> bool:
        keys = [key("job", job.job_id), _CREATED]
        args: list[Any] = [job.version - 1, job.version, job.created_at, job.document, self._milliseconds]
        args += [job.job_id, self._most, key("job", "")]
        return bool(await self._run(self._swap(keys=keys, args=args)))
