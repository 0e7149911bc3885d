"""How much of the store each tenant holds, in Redis.

held:due:<tenant>       sorted set of the keys that it holds, `recipe:<id>` and `imported:<id>`, by the millisecond in
                        which to see whether they are still there
held:bytes:<tenant>     hash: length of each of them, and `total`
held:tenants            set of the tenants that hold any
held:devices:<tenant>   sorted set of its devices as <channel>:<device id>, by last report, in microseconds    expires
held:more:<tenant>      hash: of those with long reports, how many times more than once they count, and the sum of it
                        under the empty name                                                                   expires

What expires, or is evicted, does not say so. So each key is looked at when it would have expired, or after a day, by
whatever asks next, or by upkeep. `HOLDING` and `EXPIRING` go in front of the scripts
that use them.
"""

from cloud_service.store.redis_server import PREFIX, key

LOOK_MS = 86_400_000
"""Longest time until a key that a tenant holds is looked at."""

HOLDING = """
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function let_go(due, sizes, member)
  redis.call('ZREM', due, member)
  local size = redis.call('HGET', sizes, member)
  if size then
    redis.call('HDEL', sizes, member)
    redis.call('HINCRBY', sizes, 'total', -size)
  end
  if redis.call('ZCARD', due) == 0 then redis.call('DEL', sizes) end
end
local function look(due, sizes, prefix, owner, longest)
  local now = clock()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, 100)) do
    if redis.call('HEXISTS', prefix .. member, owner) == 1 then
      local left = redis.call('PTTL', prefix .. member)
      if left < 0 or left > tonumber(longest) then left = longest end
      redis.call('ZADD', due, now + left, member)
    else
      let_go(due, sizes, member)
    end
  end
  return tonumber(redis.call('HGET', sizes, 'total') or 0)
end
local function hold(due, sizes, tenants, prefix, owner, longest, member, size, most)
  local total = look(due, sizes, prefix, owner, longest)
  if redis.call('HEXISTS', sizes, member) == 1 then return true end
  if tonumber(most) > 0 and total + size > tonumber(most) then return false end
  redis.call('HSET', sizes, member, size)
  redis.call('HINCRBY', sizes, 'total', size)
  redis.call('ZADD', due, clock() + longest, member)
  redis.call('SADD', tenants, string.sub(owner, 7))
  return true
end
"""

EXPIRING = """
local function is_nobodys(recipe)
  for _, field in ipairs(redis.call('HKEYS', recipe)) do
    if string.sub(field, 1, 6) == 'owner:' then return false end
  end
  return true
end
local function keep(prefix, recipe, milliseconds)
  local found = redis.call('HMGET', recipe, 'bundle_id', 'generation')
  local keys = {recipe}
  if found[1] then table.insert(keys, prefix .. 'lora:' .. found[1]) end
  if found[2] then table.insert(keys, prefix .. 'generation:' .. found[2]) end
  for _, key in ipairs(keys) do redis.call('PEXPIRE', key, milliseconds, 'XX') end
end
local function hasten(prefix, recipe, milliseconds)
  local left = redis.call('PTTL', recipe)
  if left > tonumber(milliseconds) and is_nobodys(recipe) then keep(prefix, recipe, milliseconds) end
end
"""
"""Of a generated recipe: whether it is nobody's; let it and what leads to it expire at a time, or soon if it is."""

HELD = f"""{HOLDING}
local total = look(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])
if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], string.sub(ARGV[2], 7)) end
return {{total, redis.call('ZCOUNT', KEYS[1], '-inf', clock())}}
"""
"""Gives the bytes that a tenant holds, and how many of its keys are still to be looked at."""

LEAVING = """
local function leave(devices, more, name)
  redis.call('ZREM', devices, name)
  local counts = redis.call('HGET', more, name)
  if counts then
    redis.call('HDEL', more, name)
    if redis.call('HINCRBY', more, '', -counts) <= 0 then redis.call('DEL', more) end
  end
end
local function counted(devices, more)
  return redis.call('ZCARD', devices) + (redis.call('HGET', more, '') or 0)
end
"""
"""Of a tenant's devices: let one go, and how many they count as."""

DUE, SIZES = f"{PREFIX}held:due:", f"{PREFIX}held:bytes:"
"""In front of a tenant's name."""

TENANTS = key("held", "tenants")


def held_by(tenant: str) -> list[str]:
    """The keys that say what a tenant holds; none for the operator."""
    return [f"{DUE}{tenant}", f"{SIZES}{tenant}", TENANTS] if tenant else []


def devices_of(channel: str) -> list[str]:
    """The keys that list and count the devices of the tenant whose channel it is; none when it is no tenant's."""
    tenant, dot, _ = channel.partition(".")
    return [key("held", f"{kind}:{tenant}") for kind in ("devices", "more")] if dot else []
