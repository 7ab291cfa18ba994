"""Webhooks in tests: time that passes at once, and a receiver that does what it is told."""

from typing import Final

from apps.sessions.outbox import Outbox
from blueengine.wire import names

_EARLIER: Final = """
local by = tonumber(ARGV[1])
local function shift(key)
  local all = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do redis.call('ZINCRBY', key, -by, all[i]) end
end
for _, receiver in ipairs(redis.call('ZRANGE', '{receivers}', 0, -1)) do shift('{due}' .. receiver) end
shift('{receivers}')
""".replace("{receivers}", names.HOOK_RECEIVERS).replace("{due}", names.hook_due(""))


async def let_pass(outbox: Outbox, seconds: float) -> None:
    """Have the outbox believe that so much time is over: everything is due that much earlier."""
    await outbox._link.send("EVAL", _EARLIER, 0, int(seconds * 1e6))
