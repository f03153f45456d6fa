package redis

import goredis "github.com/redis/go-redis/v9"

// The places of one part are one hash under one key, so a script touches one key, whichever server of a cluster holds it; and
// whatever Redis drops of it (a flush, an eviction), it drops whole. Its fields:
//
//   - epoch: in which its places are given out, as the database numbers them;
//   - number: how many decisions there were in the epoch;
//   - run: the server process that it was written to, and the line of replication that it was in. Another one may know an older
//     state of it (a snapshot that was loaded at a start, a replica that took over before the last writes reached it, a primary
//     that was one before), so for another one it is not there;
//   - one for each user who holds places (leaseField): the list of them, packed, each
//     {plan, node, session, acquired, seq, asked, until}. Moments are microseconds since 1970, below 2^53, which Lua holds exactly,
//     and by this Redis's clock, as those who ask may have clocks that are apart: they say how long ago something was, and for how
//     long a place is to stand. Only asked is as its asker says: it is held against nothing but the same session's end. One that was
//     kicked stays for a while (REMEMBERED), with an until of GONE, the number of the decision that kicked it, and since when: later
//     decisions, which rest on it, may be confirmed first, and bring it along.
//
// Every script begins with luaPart. "Not there" is answered with an epoch of 0. Where a script is told a clock, that is what stands
// for Redis's own: empty but in tests.

const luaPart = `
local key = KEYS[1]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') .. ' ' ..
  string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
local function epoch()
  local is = redis.call('HMGET', key, 'epoch', 'run')
  if not is[1] or is[2] ~= run then return 0 end
  return tonumber(is[1])
end
local function held(field)
  local packed = redis.call('HGET', key, field)
  return packed and cmsgpack.unpack(packed) or {}
end
local function hold(field, list)
  if #list == 0 then redis.call('HDEL', key, field) else redis.call('HSET', key, field, cmsgpack.pack(list)) end
end
local PLAN, NODE, SESSION, ACQUIRED, SEQ, ASKED, UNTIL, BY, SINCE = 1, 2, 3, 4, 5, 6, 7, 8, 9
local GONE, REMEMBERED = -1, 10 * 1000000
local function clock(told)
  if told ~= '' then return tonumber(told) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
local function of(l, node, session) return l[NODE] == node and l[SESSION] == session end
`

// epochScript answers the part's epoch.
var epochScript = goredis.NewScript(luaPart + `return epoch()`)

// acquireScript takes or renews a place, as [policy.Leases] has it. ARGV: field, plan, node, session, how long ago it was asked for,
// for how long it is to stand, limit, "1" where the oldest make room, the epoch, when it was asked for as its asker says, the
// clock. In another epoch it does nothing and answers {epoch}: it may come late. Else it answers {epoch, number, granted, for how
// long it has been held, seq, kicked, expired}: kicked a list of node, session, and the number of the decision that kicked it,
// expired one of node, session.
var acquireScript = goredis.NewScript(luaPart + `
local field, plan, node, session = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = clock(ARGV[11])
local at, till, limit, kick = now - ARGV[5], now + ARGV[6], tonumber(ARGV[7]), ARGV[8] == '1'
local e = epoch()
if e ~= tonumber(ARGV[9]) then return {e} end
local number = redis.call('HINCRBY', key, 'number', 1)
local mine, own, lapsed, left, theirs, rest, gone, expired, seq = nil, nil, nil, nil, {}, {}, {}, {}, 0
for _, l in ipairs(held(field)) do
  if l[UNTIL] == GONE then
    if of(l, node, session) then
      left = l
    elseif l[PLAN] == plan and now - l[SINCE] <= REMEMBERED then
      table.insert(gone, l)
    end
  elseif l[PLAN] == plan and l[UNTIL] <= at then
    if of(l, node, session) then
      lapsed = l
    else
      table.insert(expired, l[NODE])
      table.insert(expired, l[SESSION])
    end
  elseif of(l, node, session) then
    own = l
    if l[PLAN] == plan then mine = l end
  elseif l[PLAN] == plan then
    table.insert(theirs, l)
    seq = math.max(seq, l[SEQ])
  else
    table.insert(rest, l)
  end
end
local grant = kick or mine ~= nil or #theirs < limit
if grant and not mine and #theirs >= limit then
  table.sort(theirs, function(a, b)
    if a[ACQUIRED] ~= b[ACQUIRED] then return a[ACQUIRED] < b[ACQUIRED] end
    return a[SEQ] < b[SEQ]
  end)
  for _ = 1, #theirs - limit + 1 do
    local l = table.remove(theirs, 1)
    l[UNTIL], l[BY], l[SINCE] = GONE, number, now
    table.insert(gone, l)
  end
end
for _, l in ipairs(theirs) do table.insert(rest, l) end
local acquired = at
if grant then
  if mine then acquired, seq = mine[ACQUIRED], mine[SEQ] else seq = seq + 1 end
  table.insert(rest, {plan, node, session, acquired, seq, tonumber(ARGV[10]), till})
else
  if own then table.insert(rest, own) end
  if left then table.insert(gone, left) end
  if lapsed then
    table.insert(expired, lapsed[NODE])
    table.insert(expired, lapsed[SESSION])
  end
end
local kicked = {}
for _, l in ipairs(gone) do
  table.insert(rest, l)
  table.insert(kicked, l[NODE])
  table.insert(kicked, l[SESSION])
  table.insert(kicked, l[BY])
end
hold(field, rest)
return {e, number, grant and 1 or 0, now - acquired, seq, kicked, expired}`)

// renewScript sets until when places of a node's sessions are held. ARGV: the epoch, for how long, the clock, the node, and of each
// place field and session. It answers {epoch, the numbers (from 1) of those that are not held}; where the epoch is another one,
// nothing was done.
var renewScript = goredis.NewScript(luaPart + `
local e, till, lost = epoch(), clock(ARGV[3]) + ARGV[2], {}
if e ~= tonumber(ARGV[1]) then return {e, lost} end
local lists, named = {}, {}
for i = 5, #ARGV, 2 do
  local field = ARGV[i]
  if not lists[field] then
    lists[field], named[field] = held(field), {}
    for _, l in ipairs(lists[field]) do
      if l[NODE] == ARGV[4] and l[UNTIL] ~= GONE then named[field][l[SESSION]] = l end
    end
  end
  local l = named[field][ARGV[i + 1]]
  if l then l[UNTIL] = till else table.insert(lost, (i - 3) / 2) end
end
for field, list in pairs(lists) do hold(field, list) end
return {e, lost}`)

// endScript gives up places. ARGV: of each field, node, session, and when it was asked for at the latest: one that was asked for
// since is another life's.
var endScript = goredis.NewScript(luaPart + `
if epoch() == 0 then return 0 end
local ends = {}
for i = 1, #ARGV, 4 do
  local field = ARGV[i]
  ends[field] = ends[field] or {}
  ends[field][ARGV[i + 2] .. ' ' .. ARGV[i + 1]] = tonumber(ARGV[i + 3])
end
for field, asked in pairs(ends) do
  local rest = {}
  for _, l in ipairs(held(field)) do
    if l[ASKED] > (asked[l[SESSION] .. ' ' .. l[NODE]] or -1) then table.insert(rest, l) end
  end
  hold(field, rest)
end
return 1`)

// countScript counts the places that others hold. ARGV: field, plan, the node and session that do not count, how long ago, the clock.
// It answers {epoch, how many}.
var countScript = goredis.NewScript(luaPart + `
local n, at = 0, clock(ARGV[6]) - ARGV[5]
for _, l in ipairs(held(ARGV[1])) do
  if l[PLAN] == ARGV[2] and not of(l, ARGV[3], ARGV[4]) and l[UNTIL] > at then n = n + 1 end
end
return {epoch(), n}`)

// beginScript begins an epoch with the places that stand, unless a later one has begun. ARGV: the epoch, the clock, and of each place,
// ordered by field, the field and what is in its list, with how long ago it was acquired and for how long it stands.
var beginScript = goredis.NewScript(luaPart + `
if epoch() >= tonumber(ARGV[1]) then return 0 end
redis.call('DEL', key)
local now, field, list = clock(ARGV[2]), nil, {}
for i = 3, #ARGV, 8 do
  if field and field ~= ARGV[i] then
    hold(field, list)
    list = {}
  end
  field = ARGV[i]
  table.insert(list, {ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], now - ARGV[i + 4], tonumber(ARGV[i + 5]), tonumber(ARGV[i + 6]),
    now + ARGV[i + 7]})
end
if field then hold(field, list) end
redis.call('HSET', key, 'epoch', ARGV[1], 'run', run)
return 1`)

// expiredScript drops the places that ended a while ago, and those of kicked sessions that are remembered for nobody any more.
// ARGV: how long ago, the clock. It answers {epoch, number, list of node, session}: those that ended.
var expiredScript = goredis.NewScript(luaPart + `
local now, ended = clock(ARGV[2]), {}
local before = now - ARGV[1]
local e = epoch()
if e == 0 then return {0} end
for _, field in ipairs(redis.call('HKEYS', key)) do
  if string.sub(field, 1, 2) == 'u:' then
    local list, rest = held(field), {}
    for _, l in ipairs(list) do
      if l[UNTIL] == GONE then
        if now - l[SINCE] <= REMEMBERED then table.insert(rest, l) end
      elseif l[UNTIL] < before then
        table.insert(ended, l[NODE])
        table.insert(ended, l[SESSION])
      else
        table.insert(rest, l)
      end
    end
    if #rest < #list then hold(field, rest) end
  end
end
return {e, redis.call('HINCRBY', key, 'number', 1), ended}`)
