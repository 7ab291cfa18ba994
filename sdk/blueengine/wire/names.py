"""Every Redis key, stream and channel name, with its type and life. Nobody else spells one.

The same table is rendered into the prelude of each Lua script (see ``blueengine.ledger``), where
``K.session(id)`` answers what ``names.session(id)`` answers here.

Keys of a placement are found inside the scripts (the instance is picked there), so they cannot all
be passed in KEYS. The ledger therefore needs one Redis primary (Sentinel is fine, Cluster is not).
"""

from functools import lru_cache
from typing import Final

TEMPLATES: Final[dict[str, str]] = {
    # one session ---------------------------------------------------------------------------------
    "session": "be:s:{}",  # hash    status, plan, one group of fields per node; until its ttl
    "results": "be:s:{}:r:{}",  # list    stored messages of one channel, in order; as the session
    "events": "be:s:{}:ev",  # stream  what happened, for timelines and live views; as the session
    "logs": "be:s:{}:log",  # stream  what engines wrote about it, the last lines; as the session
    "pushes": "be:s:{}:in",  # hash    what the client of an interactive session pushed; to its end
    "pushed": "be:s:{}:in:{}",  # list    its messages of a channel not consumed by all; to its end
    # all sessions --------------------------------------------------------------------------------
    "sessions": "be:sessions",  # zset    id -> created, microseconds
    "status": "be:status:{}",  # zset    one per status; pending by order, the others by created
    "order": "be:order",  # counter arrival number of the next session
    "timers": "be:timers",  # zset    "<kind> <session> <attempt>" -> due, microseconds
    "expiry": "be:expiry",  # zset    ended session -> when it is forgotten, microseconds
    "idempotency": "be:idem:{}",  # string  "<session> <hash of the body>"; 24 h
    # engines -------------------------------------------------------------------------------------
    "engines": "be:engines",  # set     every engine ever seen in attendance
    "engine": "be:e:{}",  # hash    spec and concurrency; kept when scaled to zero
    "instances": "be:e:{}:instances",  # set     instances in attendance, draining ones included
    "free": "be:e:{}:free",  # zset    instance that may take work -> free slots (may be 0)
    "free_at": "be:e:{}:free:{}",  # zset    the same, of those at "host/<name>" or "zone/<name>"
    "waiting": "be:e:{}:waiting",  # zset    sessions parked on this engine -> order
    "pending_list": "__engine_pending_list_{}__",  # zset pending sessions that need it -> order
    "demand": "__engine_demand_{}__",  # set     one member per slot wanted or held
    "elder": "be:elder",  # string  pending session for which free slots are kept; until it is placed
    "specs": "be:specs",  # counter grows whenever any engine's spec changes
    # instances -----------------------------------------------------------------------------------
    "instance": "be:i:{}",  # hash    the attendance record
    "held": "be:i:{}:held",  # set     "<session> <attempt> <node>", one per slot in use
    "commands": "be:i:{}:cmd",  # stream  Start, Go, Stop, Credit; as the instance
    "inbox": "be:i:{}:in",  # stream  data messages (Redis transport); as the instance
    "deadlines": "be:deadlines",  # zset    instance -> when its heartbeat is overdue, microseconds
    # webhooks: a queue is "<session>~<number>", a receiver "host:port" ----------------------------
    "hook": "be:hook:s:{}",  # hash    a queue's webhook (secret headers and all) and counts; as the session
    "hook_queue": "be:hook:q:{}",  # list    events that wait, oldest first; until they are told
    "hook_due": "be:hook:due:{}",  # zset    queues of one receiver -> next try, microseconds
    "hook_receivers": "be:hook:receivers",  # zset    receiver -> its earliest next try, microseconds
    "hook_delivery": "be:hook:d:{}",  # hash    what became of an event that was tried; days
    "hook_tries": "be:hook:d:{}:tries",  # list    its last tries (JSON); as the delivery
    "hook_index": "be:hook:by:{}:{}",  # zset    tenant, state: delivery -> last change, microseconds
    "hook_totals": "be:hook:totals",  # hash    outcome -> tries so far
    "hook_secrets": "be:hook:secrets:{}",  # list    "<secret> <created> <valid until or 0>" of a tenant
    "hook_wake": "be:hook:wake",  # pub/sub an event waits that is due now
    # tenants and their keys ----------------------------------------------------------------------
    "tenants": "be:tenants",  # set     every tenant that has a key, a limit or a session
    "tenant": "be:t:{}",  # hash    its limits: max_running, max_pending; 0 or no field: none
    "apart": "be:t:{}:apart:{}",  # zset    its sessions over max_running, by engine -> order
    "apart_engines": "be:t:{}:apart",  # set     the engines of these
    "tenant_sessions": "be:t:{}:sessions",  # zset    its sessions -> created, microseconds
    "tenant_status": "be:t:{}:status:{}",  # zset    the same, one per status
    "key": "be:key:{}",  # hash    an API key: digest, tenant, scopes …; kept when revoked
    "keys": "be:keys",  # zset    ids of all keys -> created, microseconds
    "tenant_keys": "be:t:{}:keys",  # zset    the same, of one tenant
    "key_news": "be:key-news",  # pub/sub "key <id>" of keys that changed
    # waking others -------------------------------------------------------------------------------
    "wake": "be:wake",  # stream  "engine" that has both capacity and waiting sessions
    "poke": "be:poke:{}",  # pub/sub one per gateway process: session ids with news
    "tap": "be:tap:{}",  # pub/sub one per gateway process: copies of messages on tapped channels
    "scale": "be:scale",  # pub/sub engine ids whose demand may need another instance
    "lease": "be:lease:{}",  # string  the management replica that does a job now; one period of it
    "watch": "be:watch",  # hash    when the reaper last looked, microseconds
}

# Makers of the names above, one per kind of key: ``session(session_id)``, ``free(engine_id)`` …
session: Final = TEMPLATES["session"].format
results: Final = TEMPLATES["results"].format
events: Final = TEMPLATES["events"].format
logs: Final = TEMPLATES["logs"].format
pushes: Final = TEMPLATES["pushes"].format
pushed: Final = TEMPLATES["pushed"].format
status: Final = TEMPLATES["status"].format
idempotency: Final = TEMPLATES["idempotency"].format
engine: Final = TEMPLATES["engine"].format
instances: Final = TEMPLATES["instances"].format
free: Final = TEMPLATES["free"].format
free_at: Final = TEMPLATES["free_at"].format
waiting: Final = TEMPLATES["waiting"].format
pending_list: Final = TEMPLATES["pending_list"].format
demand: Final = TEMPLATES["demand"].format
instance: Final = TEMPLATES["instance"].format
held: Final = TEMPLATES["held"].format
commands: Final = TEMPLATES["commands"].format
inbox: Final = TEMPLATES["inbox"].format
poke: Final = TEMPLATES["poke"].format
tap: Final = TEMPLATES["tap"].format
lease: Final = TEMPLATES["lease"].format
hook: Final = TEMPLATES["hook"].format
hook_queue: Final = TEMPLATES["hook_queue"].format
hook_due: Final = TEMPLATES["hook_due"].format
hook_delivery: Final = TEMPLATES["hook_delivery"].format
hook_tries: Final = TEMPLATES["hook_tries"].format
hook_index: Final = TEMPLATES["hook_index"].format
hook_secrets: Final = TEMPLATES["hook_secrets"].format
tenant: Final = TEMPLATES["tenant"].format
apart: Final = TEMPLATES["apart"].format
apart_engines: Final = TEMPLATES["apart_engines"].format
tenant_sessions: Final = TEMPLATES["tenant_sessions"].format
tenant_status: Final = TEMPLATES["tenant_status"].format
key: Final = TEMPLATES["key"].format
tenant_keys: Final = TEMPLATES["tenant_keys"].format

SESSIONS: Final = TEMPLATES["sessions"]
ORDER: Final = TEMPLATES["order"]
TIMERS: Final = TEMPLATES["timers"]
EXPIRY: Final = TEMPLATES["expiry"]
ENGINES: Final = TEMPLATES["engines"]
SPECS: Final = TEMPLATES["specs"]
DEADLINES: Final = TEMPLATES["deadlines"]
WAKE: Final = TEMPLATES["wake"]
SCALE: Final = TEMPLATES["scale"]
HOOK_RECEIVERS: Final = TEMPLATES["hook_receivers"]
HOOK_TOTALS: Final = TEMPLATES["hook_totals"]
HOOK_WAKE: Final = TEMPLATES["hook_wake"]
TENANTS: Final = TEMPLATES["tenants"]
KEYS: Final = TEMPLATES["keys"]
KEY_NEWS: Final = TEMPLATES["key_news"]

WAKE_GROUP: Final = "management"
"""Consumer group on the wake stream: one management replica takes each wake-up."""


# Kafka -------------------------------------------------------------------------------------------

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")


@lru_cache(maxsize=10_000)
def inbox_topic(prefix: str, instance: str) -> str:
    """Return the topic that is an instance's inbox; as the instance.

    Bytes that topics cannot have, or should not (Kafka takes ``a.b`` and ``a_b`` for the same),
    are written as ``_`` and two hexadecimal digits.
    """
    spelled = "".join(
        chr(byte) if chr(byte) in _PLAIN else f"_{byte:02x}" for byte in instance.encode()
    )
    return f"{prefix}-in-{spelled}"


def instance_of(prefix: str, topic: str) -> str | None:
    """Return whose inbox a topic is; None when it is not one of this platform's."""
    start = f"{prefix}-in-"
    if not topic.startswith(start):
        return None
    head, *rest = topic.removeprefix(start).split("_")
    try:
        tail = b"".join(bytes.fromhex(word[:2]) + word[2:].encode() for word in rest)
        return (head.encode() + tail).decode()
    except ValueError:
        return None
