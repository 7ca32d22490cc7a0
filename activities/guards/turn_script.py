"""The scripts that decide, in Redis and by its clock, whether a node may begin.

Each limit has a line. Who may not begin is told when to come back: for a rate that is known, since each that has begun
makes room when its time is over; for concurrency it is guessed from how long those before took. Who asks in between and
is the next, is offered the place, and has some seconds to begin. Who does not come back in time holds up nobody, and
keeps the order in which it came. So nothing has to be told of a run that has gone: its place is given up by itself.

Why not a library: `limits` of PyPI counts hits in windows, and neither reserves a time, nor keeps a line, nor holds
leases; semaphores for Redis that do are not kept up, and block where they wait.

A call that begins counts from then on in any window of `per`, also across its borders: this is a log, not a bucket,
which would let twice the limit through within one window. So memory is one entry for each of `limit`.
"""

from __future__ import annotations

from typing import Final

PATIENCE_MS: Final = 2_000
"""Who comes back later than this holds up nobody until it does."""
OFFER_MS: Final = 10_000
"""How long a place is kept for a run that was told that it may begin."""
LONGEST_MS: Final = 120_000
"""The longest pause before one asks again, unless a tenth of what is left is longer."""

_LINE = f"""
local clock = redis.call('TIME')
local exactly = clock[1] * 1000 + clock[2] / 1000
local now = math.floor(exactly)
local op, me, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local at_least, own = tonumber(ARGV[4]), tonumber(ARGV[5])
local used, line, due, offers, places, memory = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local PATIENCE, OFFER, LONGEST, DAY = {PATIENCE_MS}, {OFFER_MS}, {LONGEST_MS}, 86400000
local since, rank, awake, offered, offer

-- who is not back in time keeps the order in which it came, and holds up nobody
local function look_at_line()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', '(' .. (now - PATIENCE), 'LIMIT', 0, 1000)) do
    redis.call('ZADD', places, redis.call('ZSCORE', line, id) or now, id)
    redis.call('ZREM', line, id); redis.call('ZREM', due, id); redis.call('PEXPIRE', places, DAY)
  end
  redis.call('ZREMRANGEBYSCORE', places, '-inf', now - DAY)
  redis.call('ZREMRANGEBYSCORE', offers, '-inf', now)
  since = tonumber(redis.call('ZSCORE', line, me) or redis.call('ZSCORE', places, me) or exactly)
  rank = redis.call('ZCOUNT', line, '-inf', string.format('(%.17g', since))
  offer = redis.call('ZSCORE', offers, me)
  offered = redis.call('ZCARD', offers) - (offer and 1 or 0)
  awake = redis.call('ZCOUNT', due, '-inf', now + 1000)
  local mine = redis.call('ZSCORE', due, me)
  if mine and tonumber(mine) <= now + 1000 then awake = awake - 1 end
end

local function leave()
  redis.call('ZREM', line, me); redis.call('ZREM', due, me)
  redis.call('ZREM', offers, me); redis.call('ZREM', places, me)
end

-- who sleeps for longer holds up nobody who could begin now
local function may_begin(taken)
  if offer then return taken + offered < limit end
  return taken + offered + math.min(rank, awake) < limit
end

-- of a wait of hours a tenth: who has gone is among those that wait for as long
local function come_back(pause, wait)
  pause = math.ceil(math.max(math.min(pause, math.max(LONGEST, wait / 10)), at_least, 20))
  leave()
  redis.call('ZADD', line, since, me); redis.call('ZADD', due, now + pause, me)
  for _, key in ipairs({{line, due}}) do
    if redis.call('PTTL', key) < pause + DAY then redis.call('PEXPIRE', key, pause + DAY) end
  end
  return pause
end

local function offer_place()
  leave()
  redis.call('ZADD', places, since, me); redis.call('ZADD', offers, now + OFFER, me)
  redis.call('PEXPIRE', places, DAY); redis.call('PEXPIRE', offers, OFFER)
end
"""

RATE: Final = (
    _LINE
    + """
if op == 'begin' and redis.call('ZSCORE', used, me) then return {1, 0, 0, 0} end -- the answer was lost
look_at_line()
local longest = math.max(own, tonumber(redis.call('GET', memory) or '0'))
redis.call('ZREMRANGEBYSCORE', used, '-inf', now - longest)
local taken = redis.call('ZCOUNT', used, '(' .. (now - own), '+inf')
if may_begin(taken) then
  if op == 'begin' then
    leave()
    redis.call('ZADD', used, now, me); redis.call('PEXPIRE', used, longest)
    redis.call('SET', memory, longest, 'PX', longest)
    return {1, 0, 0, 0}
  end
  if at_least > 0 then come_back(at_least, 0) else offer_place() end
  return {1, 0, 0, 0}
end
local among = rank % limit
local place, at = among + taken + offered - limit, now
if place >= taken then
  at = now + own
elseif place >= 0 then
  at = tonumber(redis.call('ZRANGE', used, place - taken, place - taken, 'WITHSCORES')[2]) + own
end
local wait = at + math.floor(rank / limit) * own - now
return {0, come_back(wait, wait), rank, math.ceil(wait)}
"""
)
"""`begin` and `wait`. Returns whether it may begin, else milliseconds until the next try, how many are before it, and
milliseconds until its turn."""

CONCURRENCY: Final = (
    _LINE
    + """
if op == 'keep' or op == 'end' then
  local there = redis.call('ZREM', used, me)
  if op == 'keep' then
    redis.call('ZADD', used, now + own, me); redis.call('PEXPIRE', used, own * 2)
  elseif at_least >= 0 then
    local mean = tonumber(redis.call('GET', memory) or at_least)
    redis.call('SET', memory, math.ceil(mean * 0.8 + at_least * 0.2), 'PX', DAY)
  end
  return {there, 0, 0, 0}
end
redis.call('ZREMRANGEBYSCORE', used, '-inf', now)
local held = redis.call('ZSCORE', used, me) -- the answer was lost
look_at_line()
local taken = redis.call('ZCARD', used)
if held or may_begin(taken) then
  if op == 'begin' then
    leave()
    redis.call('ZADD', used, now + own, me); redis.call('PEXPIRE', used, own * 2)
  elseif at_least > 0 then
    come_back(at_least, 0)
  else
    offer_place()
  end
  return {1, 0, 0, 0}
end
local mean = tonumber(redis.call('GET', memory) or '1000')
local place = rank + taken + offered - limit
local wait = mean * (place + 1) / limit
local pause = math.min(30000, math.max(200, mean / 10, (now - since) / 20))
if place >= limit then pause = math.max(pause, wait / 2) end
return {0, come_back(pause, wait), rank, math.ceil(wait)}
"""
)
"""`begin`, `wait`, and while it is under way `keep` and `end`. Returns the same; of the last two, whether it was there.

`own` is the lease in milliseconds; `at_least` of `end` is how long it took, -1 where nothing was done.
"""
