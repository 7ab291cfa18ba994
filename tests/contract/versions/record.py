"""Record what this version keeps in Redis and the scripts it runs, for later versions to be held to.

    python -m tests.contract.versions.record NAME    (before a release; writes NAME.json.gz beside this file)

A file is written once and never changed.
"""

import asyncio
import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from blueengine import ledger
from blueengine.kit.redis_address import RedisAddress
from blueengine.kit.redis_link import Link
from tests.integration.ledger.world import LONG, World
from tests.kit.servers import RealRedis

HERE: Final = Path(__file__).parent
_DUMP: Final = """
local out = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'stream' then value = redis.call('XRANGE', key, '-', '+')
  else value = redis.call('GET', key) end
  out[#out + 1] = {key, kind, value}
end
return out
"""


async def _town(world: World) -> dict[str, str]:
    """Make sessions in every kind of state; their ids by what they are."""
    a, b = (
        await world.attend("a", 2, name="a-1", host="box"),
        await world.attend("b", 2, name="b-1"),
    )
    await world.attend("eager", 2, name="eager-1", eager="1")
    ended = await world.submit("a")
    [part] = await world.run(ended)
    await world.output(part, 0, b"one", b"two")
    await world.finish(part)
    failed = await world.submit("a")
    await world.fail((await world.run(failed))[0])
    running = await world.submit(["a", "b"], time_limit=LONG, labels={"team": "docs"})
    for part in await world.run(running):
        await world.output(part, 0, b"first")
    stopping = await world.submit("a")
    await world.run(stopping)
    await world.store.stop(stopping, "enough")
    again = await world.submit("b", max_attempts=3)
    [part] = await world.run(again)
    await world.crash(part)
    waiting = await world.submit(["a", "b"], rank=1)
    eager = await world.submit("eager")
    never = await world.submit("nobody")
    _ = a, b
    return {
        "ended": ended, "failed": failed, "running": running, "stopping": stopping, "again": again,
        "waiting": waiting, "eager": eager, "never": never,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return [_plain(item) for item in value] if isinstance(value, list) else value


async def _record(url: str) -> dict[str, Any]:
    scripts = ledger.load()
    link = Link(RedisAddress.from_url(url), scripts=scripts)
    await link.open()
    try:
        sessions = await _town(World(link))
        state = [_plain(entry) for entry in await link.send("EVAL", _DUMP, 0)]
    finally:
        await link.close()
    texts = {name: script.text for name, script in scripts.items()}
    return {"sessions": sessions, "state": state, "scripts": texts}


def main(arguments: Sequence[str]) -> int:
    """Write the file of this name."""
    [name] = arguments
    with RealRedis() as server:
        found = asyncio.run(_record(server.url))
    data = json.dumps(found, indent=0, sort_keys=True).encode()
    (HERE / f"{name}.json.gz").write_bytes(gzip.compress(data, mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
