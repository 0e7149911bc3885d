"""Channels and devices in Redis.

channel:<name>      hash: revision, version, digest, changed, rolling, rollout, document
channels:listed     sorted set of the names of channels with a document, all with score 0
channels:deleted    sorted set of the names of those that were deleted, by the microsecond of it
deleted:<tenant>    those of one tenant, once more
channels:rolling    hash: revision of each channel with a rollout that goes on
versions:<name>     hash: document of each version that is kept
kept:<tenant>       sum of their lengths, of all channels of one tenant
history:<name>      hash: what made each of these versions, and its digest, as JSON
events:<name>       list of events as JSON, the newest first
noted:<tenant>      how many events there are of all channels of one tenant
devices:<channel>   sorted set of device ids by last report, in microseconds   expires
devices:            the same for all channels, as <channel>:<device id>
seen:<channel>:<device id>     the last report in short, as JSON                expires
device:<channel>:<device id>   the last report                                  expires
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import structlog

from cloud_service.store.access import Share
from cloud_service.store.fleet import ChannelEntry, ChannelRow, DeviceEntry, StoredEvent, StoredVersion, places
from cloud_service.store.redis_server import RedisServer, key
from cloud_service.store.redis_shares import LEAVING, devices_of
from loragen.contract.digest import sha256_hex

_log = structlog.get_logger(__name__)

_LISTED = key("channels", "listed")
_ROLLING = key("channels", "rolling")
_DELETED = key("channels", "deleted")
_ALL_DEVICES = key("devices", "")

_MOST_DEVICES = 1_000_000
"""Devices of all channels that the common listing knows, the most recent ones: 100 MB."""

# KEYS: channel, listed, rolling, versions, history, events, deleted; of the tenant whose channel it is, if any, those
# that were deleted, the bytes of its versions, and the number of its events.
# ARGV: name, revision, version, digest, rolling, rollout, document, action, detail, most versions, most events, most
# channels of the tenant and between which names they are, key prefixes of channels and of events, most bytes of all
# versions of the tenant, and most of its events.
_WRITE = """
local function forget_events(count)
  if KEYS[10] and redis.call('DECRBY', KEYS[10], count) <= 0 then redis.call('DEL', KEYS[10]) end
end
local function forget(version)
  if KEYS[9] and redis.call('DECRBY', KEYS[9], redis.call('HSTRLEN', KEYS[4], version)) <= 0 then
    redis.call('DEL', KEYS[9])
  end
  redis.call('HDEL', KEYS[4], version)
  redis.call('HDEL', KEYS[5], version)
end
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
if tonumber(revision) ~= tonumber(ARGV[2]) - 1 then return 0 end
local most = tonumber(ARGV[12])
if most > 0 and ARGV[7] ~= '' and not redis.call('ZSCORE', KEYS[2], ARGV[1])
  and redis.call('ZLEXCOUNT', KEYS[2], ARGV[13], ARGV[14]) >= most then
  return 0
end
local time = redis.call('TIME')
local now = string.format('%d%06d', time[1], time[2])
redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'version', ARGV[3], 'digest', ARGV[4], 'changed', now,
  'rolling', ARGV[5], 'rollout', ARGV[6], 'document', ARGV[7])
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
else
  redis.call('HDEL', KEYS[3], ARGV[1])
end
local about = {action = ARGV[8], detail = ARGV[9], at = now, version = ARGV[3], digest = ARGV[4]}
local events = redis.call('LPUSH', KEYS[6], cjson.encode(about))
local fewer, most_noted = math.max(0, events - ARGV[11]), tonumber(ARGV[18])
local noted = KEYS[10] and redis.call('INCR', KEYS[10])
if most_noted > 0 then fewer = math.max(fewer, math.min(noted - most_noted, events - 1)) end
redis.call('LTRIM', KEYS[6], 0, events - fewer - 1)
forget_events(fewer)
if ARGV[7] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('ZADD', KEYS[7], now, ARGV[1])
  for _, version in ipairs(redis.call('HKEYS', KEYS[4])) do forget(version) end
  if KEYS[8] then redis.call('ZADD', KEYS[8], now, ARGV[1]) end
  for _, oldest in ipairs(KEYS[8] and most > 0 and redis.call('ZRANGE', KEYS[8], 0, -1 - most) or {}) do
    forget_events(redis.call('LLEN', ARGV[16] .. oldest))
    redis.call('DEL', ARGV[15] .. oldest, ARGV[16] .. oldest)
    redis.call('ZREM', KEYS[7], oldest)
    redis.call('ZREM', KEYS[8], oldest)
  end
  return 1
end
redis.call('ZADD', KEYS[2], 0, ARGV[1])
redis.call('ZREM', KEYS[7], ARGV[1])
if KEYS[8] then redis.call('ZREM', KEYS[8], ARGV[1]) end
if redis.call('HSETNX', KEYS[4], ARGV[3], ARGV[7]) == 1 then
  redis.call('HSET', KEYS[5], ARGV[3], cjson.encode(about))
  local bytes, most_bytes = 0, tonumber(ARGV[17])
  if KEYS[9] then bytes = redis.call('INCRBY', KEYS[9], string.len(ARGV[7])) end
  local versions = redis.call('HKEYS', KEYS[5])
  table.sort(versions, function(a, b) return tonumber(a) < tonumber(b) end)
  for place = 1, #versions - 1 do
    if place > #versions - ARGV[10] and (most_bytes == 0 or bytes <= most_bytes) then break end
    bytes = bytes - redis.call('HSTRLEN', KEYS[4], versions[place])
    forget(versions[place])
  end
end
return 1
"""

# KEYS: channel, events, deleted; of the tenant whose channel it is, if any, those that were deleted, and the number of
# its events. ARGV: name, time.
_FORGET = """
local deleted = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not deleted or tonumber(deleted) >= tonumber(ARGV[2]) then return 0 end
if KEYS[4] then
  redis.call('ZREM', KEYS[4], ARGV[1])
  if redis.call('DECRBY', KEYS[5], redis.call('LLEN', KEYS[2])) <= 0 then redis.call('DEL', KEYS[5]) end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
"""

# KEYS: report, short report, devices of the channel, all devices; of the tenant whose channel it is, if any, its
# devices, and how many times more than once those with long reports count.
# ARGV: channel, device id, report, short report, time to live in ms, most devices of a channel, of all, key prefixes of
# reports and of short reports, most devices of the tenant, how many times this one counts.
_STORE = f"""{LEAVING}
local now = redis.call('TIME')
local score = now[1] * 1000000 + now[2]
local name = ARGV[1] .. ':' .. ARGV[2]
if KEYS[5] then
  local silent = score - ARGV[5] * 1000
  if redis.call('EXISTS', KEYS[6]) == 1 then
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', silent)) do leave(KEYS[5], KEYS[6], gone) end
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', silent)
  local most, before = tonumber(ARGV[10]), 0
  if redis.call('ZSCORE', KEYS[5], name) then before = 1 + (redis.call('HGET', KEYS[6], name) or 0) end
  local more = ARGV[11] - before
  if most > 0 and more > 0 and counted(KEYS[5], KEYS[6]) + more > most then return 0 end
  leave(KEYS[5], KEYS[6], name)
  redis.call('ZADD', KEYS[5], score, name)
  if tonumber(ARGV[11]) > 1 then
    redis.call('HSET', KEYS[6], name, ARGV[11] - 1)
    redis.call('HINCRBY', KEYS[6], '', ARGV[11] - 1)
  end
  redis.call('PEXPIRE', KEYS[5], ARGV[5])
  redis.call('PEXPIRE', KEYS[6], ARGV[5])
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[5])
redis.call('SET', KEYS[2], ARGV[4], 'PX', ARGV[5])
for _, devices in ipairs({{KEYS[3], KEYS[4]}}) do
  redis.call('ZREMRANGEBYSCORE', devices, '-inf', score - ARGV[5] * 1000)
end
redis.call('ZADD', KEYS[3], score, ARGV[2])
redis.call('ZADD', KEYS[4], score, name)
for _, oldest in ipairs(redis.call('ZRANGE', KEYS[3], 0, -1 - ARGV[6])) do
  redis.call('ZREM', KEYS[3], oldest)
  redis.call('ZREM', KEYS[4], ARGV[1] .. ':' .. oldest)
  if KEYS[5] then leave(KEYS[5], KEYS[6], ARGV[1] .. ':' .. oldest) end
  redis.call('UNLINK', ARGV[8] .. oldest, ARGV[9] .. oldest)
end
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -1 - ARGV[7])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
redis.call('PEXPIRE', KEYS[4], ARGV[5])
return 1
"""

_DELETE = f"""{LEAVING}
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[4], ARGV[1] .. ':' .. ARGV[2])
if KEYS[5] then leave(KEYS[5], KEYS[6], ARGV[1] .. ':' .. ARGV[2]) end
return redis.call('ZREM', KEYS[3], ARGV[2])
"""


class RedisChannels:
    """`ChannelStore` in Redis."""

    def __init__(
        self,
        server: RedisServer,
        most_versions: int,
        most_events: int,
        most_of_tenant: int,
        most_events_of_tenant: int,
        most_bytes: int,
    ) -> None:
        self._server = server
        self._most_of_tenant, self._most_bytes = most_of_tenant, most_bytes
        self._most_events_of_tenant = most_events_of_tenant
        self._redis = server.client
        self._most = (most_versions, most_events)
        self._write = server.script(_WRITE)
        self._forget = server.script(_FORGET)

    async def load(self, name: str) -> bytes | None:
        return cast(bytes | None, await self._field(name, "document")) or None

    async def load_digest(self, name: str) -> str | None:
        digest = await self._field(name, "digest")
        return digest.decode() if digest else None

    async def load_version(self, name: str) -> int | None:
        digest, version = await self._server.run(self._redis.hmget(key("channel", name), ["digest", "version"]))
        return int(version) if digest else None

    async def load_row(self, name: str) -> ChannelRow:
        fields = ["revision", "version", "document", "rollout", "rolling"]
        row = await self._server.run(self._redis.hmget(key("channel", name), fields))
        if row[0] is None:
            return ChannelRow()
        return ChannelRow(int(row[0]), int(row[1]), row[2], row[3], row[4] == b"1")

    async def write(self, name: str, row: ChannelRow, event: StoredEvent, tenant: str = "") -> bool:
        digest = sha256_hex(row.document) if row.document else ""
        keys = [
            key("channel", name),
            _LISTED,
            _ROLLING,
            *(key(kind, name) for kind in ("versions", "history", "events")),
            *_deleted(name),
            *_counted(name),
        ]
        args: list[Any] = [name, row.revision, row.version, digest, int(row.rolling), row.rollout, row.document]
        args += [event.action, event.detail, *self._most, self._most_of_tenant if tenant else 0, *_names_of(tenant)]
        args += [key("channel", ""), key("events", ""), self._most_bytes if tenant else 0]
        args.append(self._most_events_of_tenant if tenant else 0)
        return bool(await self._server.run(self._write(keys=keys, args=args)))

    async def share(self, tenant: str) -> Share:
        count = await self._server.run(self._redis.zlexcount(_LISTED, *_names_of(tenant)))
        return Share(int(count), self._most_of_tenant)

    async def list_channels(self, limit: int, after: str = "") -> list[ChannelEntry]:
        first = f"({after}" if after else "-"
        names = [
            name.decode() for name in await self._server.run(self._redis.zrangebylex(_LISTED, first, "+", 0, limit))
        ]
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(key("channel", name), ["version", "digest", "changed", "rolling"])
        rows = await self._server.run(pipeline.execute()) if names else []
        return [
            ChannelEntry(name, int(row[0]), row[1].decode(), int(row[2]), row[3] == b"1")
            for name, row in zip(names, rows, strict=True)
            if row[1]
        ]

    async def list_rolling(self) -> Mapping[str, int]:
        found = await self._server.run(self._redis.hgetall(_ROLLING))
        return {name.decode(): int(revision) for name, revision in found.items()}

    async def list_versions(self, name: str) -> list[StoredVersion]:
        found = [json.loads(about) for about in await self._server.run(self._redis.hvals(key("history", name)))]
        versions = [StoredVersion(int(about["version"]), about["digest"], _event(about)) for about in found]
        return sorted(versions, key=lambda each: each.version, reverse=True)

    async def load_kept(self, name: str, version: int) -> bytes | None:
        return cast(bytes | None, await self._server.run(self._redis.hget(key("versions", name), str(version))))

    async def list_events(self, name: str) -> list[StoredEvent]:
        return [
            _event(json.loads(each)) for each in await self._server.run(self._redis.lrange(key("events", name), 0, -1))
        ]

    async def list_deleted(self, before: int) -> list[str]:
        names = await self._server.run(self._redis.zrangebyscore(_DELETED, "-inf", f"({before}"))
        return sorted(name.decode() for name in names)

    async def forget(self, name: str, before: int) -> bool:
        keys = [key("channel", name), key("events", name), *_deleted(name), *_counted(name)[1:]]
        return bool(await self._server.run(self._forget(keys=keys, args=[name, before])))

    async def _field(self, name: str, field: str) -> Any:
        return await self._server.run(self._redis.hget(key("channel", name), field))


class RedisDevices:
    """`DeviceStore` in Redis."""

    def __init__(self, server: RedisServer, ttl_seconds: float, most_devices: int, most_of_tenant: int) -> None:
        self._server = server
        self._most_of_tenant = most_of_tenant
        self._redis = server.client
        self._ttl_ms = round(ttl_seconds * 1000)
        self._most_devices = most_devices
        self._store = server.script(_STORE)
        self._delete = server.script(_DELETE)

    async def store(self, entry: DeviceEntry, report: bytes, tenant: str = "") -> bool:
        about = {"version": entry.version, "failed": entry.failed, "labels": dict(entry.labels), "slower": entry.slower}
        short = json.dumps(about)
        args: list[Any] = [
            entry.channel,
            entry.device_id,
            report,
            short,
            self._ttl_ms,
            self._most_devices,
            _MOST_DEVICES,
        ]
        args += [key("device", f"{entry.channel}:"), key("seen", f"{entry.channel}:")]
        args += [self._most_of_tenant if tenant else 0, places(report)]
        keys = _device_keys(entry.channel, entry.device_id)
        return bool(await self._server.run(self._store(keys=keys, args=args)))

    async def share(self, tenant: str) -> Share:
        oldest = time.time_ns() // 1_000 - self._ttl_ms * 1_000
        devices, more = devices_of(f"{tenant}.")
        listed = await self._server.run(self._redis.zcount(devices, oldest, "+inf"))
        counted_more = await self._server.run(self._redis.hget(more, "")) if listed else None
        return Share(int(listed) + int(counted_more or 0), self._most_of_tenant)

    async def scan(
        self, channel: str | None, limit: int, before: int | None = None, tenant: str = ""
    ) -> list[DeviceEntry]:
        newest, oldest = "+inf" if before is None else f"({before}", time.time_ns() // 1_000 - self._ttl_ms * 1_000
        of_all = devices_of(f"{tenant}.")[0] if tenant else _ALL_DEVICES
        devices = of_all if channel is None else key("devices", channel)
        listed = await self._server.run(
            self._redis.zrevrangebyscore(devices, newest, oldest, 0, limit, withscores=True)
        )
        members = [(member.decode() if channel is None else f"{channel}:{member.decode()}") for member, _ in listed]
        shorts = (
            await self._server.run(self._redis.mget([key("seen", member) for member in members])) if members else []
        )
        entries = []
        for member, (_, score), short in zip(members, listed, shorts, strict=True):
            name, _, device_id = member.partition(":")
            # The server evicts what expires when it is full; such a device is listed again with its next report.
            about = json.loads(short or b'{"version": 0, "failed": [], "labels": {}, "slower": []}')
            failed, slower = tuple(about["failed"]), tuple(about["slower"])
            entry = DeviceEntry(name, device_id, about["version"], failed, about["labels"], slower, int(score))
            entries.append(entry)
        return entries

    async def load_reports(self, entries: Sequence[DeviceEntry]) -> list[bytes]:
        keys = [key("device", f"{each.channel}:{each.device_id}") for each in entries]
        return [report or b"" for report in await self._server.run(self._redis.mget(keys))] if keys else []

    async def delete(self, channel: str, device_id: str) -> bool:
        keys = _device_keys(channel, device_id)
        return bool(await self._server.run(self._delete(keys=keys, args=[channel, device_id])))


def _device_keys(channel: str, device_id: str) -> list[str]:
    device = f"{channel}:{device_id}"
    return [key("device", device), key("seen", device), key("devices", channel), _ALL_DEVICES, *devices_of(channel)]


def _deleted(name: str) -> list[str]:
    """Where a deleted channel is listed."""
    tenant, dot, _ = name.partition(".")
    return [_DELETED, *([key("deleted", tenant)] if dot else [])]


def _counted(name: str) -> list[str]:
    """Where the bytes of a tenant's versions are counted, and its events."""
    tenant, dot, _ = name.partition(".")
    return [key(kind, tenant) for kind in ("kept", "noted")] if dot else []


def _names_of(tenant: str) -> tuple[str, str]:
    """Between which names the channels of a tenant are, as sorted sets have it: `/` comes after the dot."""
    return f"[{tenant}.", f"({tenant}/"


def _event(about: Mapping[str, Any]) -> StoredEvent:
    return StoredEvent(about["action"], about["detail"], int(about["version"]), int(about["at"]))
