"""Jobs in Redis.

job:<id>        hash: version, created, document, tenant, busy_until            expires
jobs:created    sorted set of <tenant>/<id> by the microsecond of creation      expires
jobs:busy       hash: until when each of them goes on; no field for one that is over      expires
"""

import time
from typing import Any

from cloud_service.store.jobs import StoredJob
from cloud_service.store.redis_server import RedisServer, key

_CREATED, _BUSY = key("jobs", "created"), key("jobs", "busy")

_FIELDS = ("version", "created", "document", "tenant", "busy_until")

# KEYS: job, created, busy.
# ARGV: version before, version, created, document, tenant, busy until, time to live in ms, tenant/id, most jobs, now,
# prefix of jobs' keys.
_SWAP_JOB = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then return 0 end
local function id_in(name) return string.match(name, '[^/]*$') end
if version == '0' then
  local excess = redis.call('ZCARD', KEYS[2]) + 1 - ARGV[9]
  local names = excess > 0 and redis.call('ZRANGE', KEYS[2], 0, -1) or {}
  local over = {}
  for place, name in ipairs(names) do
    if tonumber(redis.call('HGET', KEYS[3], name) or 0) <= tonumber(ARGV[10]) then
      local tenant = string.match(name, '^[^/]*')
      over[tenant] = over[tenant] or {}
      table.insert(over[tenant], place)
    end
  end
  while excess > 0 do
    local most = {}
    for _, places in pairs(over) do
      if #places > #most or #places == #most and #most > 0 and places[1] < most[1] then most = places end
    end
    if #most == 0 then return 0 end
    local name = names[table.remove(most, 1)]
    redis.call('ZREM', KEYS[2], name)
    redis.call('HDEL', KEYS[3], name)
    redis.call('UNLINK', ARGV[11] .. id_in(name))
    excess = excess - 1
  end
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'created', ARGV[3], 'document', ARGV[4], 'tenant', ARGV[5],
  'busy_until', ARGV[6])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[8])
if ARGV[6] == '0' then
  redis.call('HDEL', KEYS[3], ARGV[8])
else
  redis.call('HSET', KEYS[3], ARGV[8], ARGV[6])
end
for _, changed in ipairs(KEYS) do redis.call('PEXPIRE', changed, ARGV[7]) end
return 1
"""

# KEYS: created, busy. ARGV: prefix of jobs' keys.
_PRUNE = """
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if redis.call('EXISTS', ARGV[1] .. string.match(name, '[^/]*$')) == 0 then
    redis.call('ZREM', KEYS[1], name)
    redis.call('HDEL', KEYS[2], name)
  end
end
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
        self._prune = server.script(_PRUNE)

    async def load_job(self, job_id: str) -> StoredJob | None:
        found = await self._run(self._redis.hmget(key("job", job_id), _FIELDS))
        if None in found:
            return None
        version, created, document, tenant, busy_until = found
        return StoredJob(job_id, int(version), int(created), document, tenant.decode(), int(busy_until))

    async def load_jobs(self, limit: int, before: int | None = None, tenant: str = "") -> list[StoredJob]:
        newest = "+inf" if before is None else f"({before}"
        # All of them, some 60 bytes each: whose a job is, is a part of its name there.
        listed = await self._run(self._redis.zrevrangebyscore(_CREATED, newest, "-inf", withscores=True))
        jobs: list[StoredJob] = []
        for name, created in listed:
            owner, _, job_id = name.decode().partition("/")
            if tenant in ("", owner) and len(jobs) < limit:
                jobs.append(await self.load_job(job_id) or StoredJob(job_id, 0, int(created), b"", owner))
        return jobs

    async def swap_job(self, job: StoredJob) -> bool:
        keys = [key("job", job.job_id), _CREATED, _BUSY]
        args: list[Any] = [job.version - 1, job.version, job.created_at, job.document, job.tenant, job.busy_until]
        args += [self._milliseconds, f"{job.tenant}/{job.job_id}", self._most, time.time_ns() // 1_000, key("job", "")]
        return bool(await self._run(self._swap(keys=keys, args=args)))

    async def prune(self) -> None:
        """Take the jobs that have expired out of the listing."""
        await self._run(self._prune(keys=[_CREATED, _BUSY], args=[key("job", "")]))
