"""The sessions of a run: what is asked for, and what must come of it."""

import base64
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson

from apps.sessions.store import SessionRecord
from blueengine.datatypes.image import Image
from blueengine.wire.webhook import ALL, SESSION_CHANGED
from tests.chaos.telling import END, Hook

GENERATION: Final = 2
"""Of the suite: a plan that an older one has kept is run with the engines and sessions of then."""
ENGINES: Final = {"a": 2, "b": 2, "p": 2, "j": 1, "c": 1, "s": 1}
"""Engine -> instances. ``p`` prepares for sessions and refuses some; ``j`` joins two branches; the
workers of ``c`` crash, or have to be killed; ``s`` does not say that it is ready."""
SINCE: Final = {"s": 2, "silent": 2, "socket": 2}
"""Engines and kinds of sessions that older generations did not have."""
RETRIES: Final = 20
LAST_RESORT_SECONDS: Final = 300
"""Time limit of a session that waits for its client."""

Results = dict[str, list[Any]]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One session as it is sent, and what its results must be."""

    kind: str
    body: dict[str, Any]
    results: Results
    """Channel -> all its messages when the session finishes, in order. A large message stands here
    as its SHA-256, an image as that of its pixels."""
    attempts: int = 1
    stop_after: float | None = None
    """Seconds after which the client stops it."""
    codes: frozenset[str] = frozenset()
    """Fault codes that are no fault of the platform."""
    pushes: Sequence[Any] = ()
    """What the client feeds to the channel ``In`` while it runs."""
    socket: bool = False
    """It does so over a WebSocket, and reads the results there."""
    hooks: tuple[Hook, ...] = ()


@dataclass
class Graph:
    """A workflow request in the making."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    start: list[dict[str, Any]] = field(default_factory=list)

    def node(
        self, name: str, engine: str, reads: dict[str, str], writes: dict[str, str], **types: str
    ) -> None:
        """Add an engine; ``types`` of channels that are not JSON."""
        for channel in (*reads.values(), *writes.values()):
            self.types.setdefault(channel, types.get(channel, "JSON"))

        def ports(links: dict[str, str]) -> list[dict[str, str]]:
            return [{"name": p, "linkTo": c, "type": self.types[c]} for p, c in links.items()]

        self.nodes.append(
            {"id": engine, "name": name, "inputs": ports(reads), "outputs": ports(writes)}
        )

    def feed(self, channel: str, *payloads: Any) -> None:
        """Add start data."""
        self.start += [{"channelName": channel, "payload": payload} for payload in payloads]

    def body(self, stored: Sequence[str], **more: Any) -> dict[str, Any]:
        """Return the request."""
        return {
            "dataChannels": [
                {"name": name, "type": kind, "interested": name in stored}
                for name, kind in self.types.items()
            ],
            "engines": self.nodes,
            "startData": self.start,
            **more,
        }


def _chain(engines: Sequence[str]) -> Graph:
    graph = Graph()
    between = [f"Ch{at}" for at in range(1, len(engines))]
    for at, engine in enumerate(engines):
        reads, writes = ["In", *between][at], [*between, "Out"][at]
        graph.node(f"n{at}", engine, {"Control": reads}, {"Results": writes})
    return graph


def _via(numbers: Sequence[int], engines: Sequence[str], **given: Any) -> list[dict[str, Any]]:
    return [{"n": number, "via": list(engines), **given} for number in numbers]


def _retry(rng: random.Random) -> dict[str, Any]:
    return {"retry": {"maxAttempts": RETRIES}} if rng.random() < 0.6 else {}


def _attempts(more: dict[str, Any]) -> int:
    return RETRIES if more else 1


def single(rng: random.Random) -> Wanted:
    """One engine, a few messages."""
    engines, count, more = [rng.choice("ab")], rng.randint(1, 5), _retry(rng)
    graph = _chain(engines)
    graph.feed("In", *({"n": number} for number in range(count)))
    out = {"Out": _via(range(count), engines)}
    return Wanted(
        kind="single", body=graph.body(["Out"], **more), results=out, attempts=_attempts(more)
    )


def chain(rng: random.Random) -> Wanted:
    """Engines in a row, some twice, and a stream that takes a while."""
    engines, more = [rng.choice("ab") for _ in range(rng.randint(2, 4))], _retry(rng)
    count, pause = rng.randint(5, 60), rng.choice([0.0, 0.002, 0.02])
    given: dict[str, Any] = {"pause": pause} | ({"say": True} if rng.random() < 0.4 else {})
    graph = _chain(engines)
    graph.feed("In", {"spread": count, **given})
    out = {"Out": _via(range(count), engines, **given)}
    return Wanted(
        kind="chain", body=graph.body(["Out"], **more), results=out, attempts=_attempts(more)
    )


def stream(rng: random.Random) -> Wanted:
    """More messages than may be under way at once."""
    engines, count, more = ["a", "b"], rng.randint(600, 1500), _retry(rng)
    fill = "x" * rng.choice([0, 200])
    graph = _chain(engines)
    graph.feed("In", {"spread": count, "fill": fill})
    out = {"Out": _via(range(count), engines, fill=fill)}
    return Wanted(
        kind="stream", body=graph.body(["Out"], **more), results=out, attempts=_attempts(more)
    )


def fan(rng: random.Random) -> Wanted:
    """Out to two branches and together again."""
    count, more, other = rng.randint(1, 40), _retry(rng), rng.choice("bp")
    pause = rng.choice([0.0, 0.01])
    graph = Graph()
    graph.node("src", "a", {"Control": "In"}, {"Results": "Mid"})
    graph.node("left", "a", {"Control": "Mid"}, {"Results": "L"})
    graph.node("right", other, {"Control": "Mid"}, {"Results": "R"})
    graph.node("join", "j", {"Left": "L", "Right": "R"}, {"Results": "Out"})
    graph.feed("In", {"spread": count, "pause": pause})
    pairs = [{"n": n, "m": n, "via": [["a", "a"], ["a", other]]} for n in range(count)]
    return Wanted(
        kind="fan",
        body=graph.body(["Out"], **more),
        results={"Out": pairs},
        attempts=_attempts(more),
        codes=frozenset({"refused", "start-timeout"} if other == "p" else ()),
    )


def picky(rng: random.Random) -> Wanted:
    """An engine that prepares for sessions, and refuses some."""
    engines = rng.choice((["p"], ["a", "p"], ["p", "b"]))
    graph = _chain(engines)
    graph.feed("In", {"n": 7})
    more = {"retry": {"maxAttempts": RETRIES}}
    return Wanted(
        kind="picky",
        body=graph.body(["Out"], **more),
        results={"Out": _via([7], engines)},
        attempts=RETRIES,
        codes=frozenset({"refused"}),
    )


def crash(rng: random.Random) -> Wanted:
    """A worker process that dies the first time; another attempt helps."""
    engines = ["c"]
    graph = _chain(engines)
    graph.feed("In", {"n": rng.randrange(9), "die": True})
    more = {"retry": {"maxAttempts": RETRIES}}
    return Wanted(
        kind="crash",
        body=graph.body(["Out"], **more),
        results={"Out": _via([graph.start[0]["payload"]["n"]], engines)},
        attempts=RETRIES,
    )


def large(rng: random.Random) -> Wanted:
    """A payload that goes by reference, through two engines and into the results."""
    data, more = rng.randbytes(rng.choice([70_000, 400_000])), _retry(rng)
    graph = Graph()
    kinds = {"In": "Bytes", "Mid": "Bytes", "Big": "Bytes"}
    graph.node("first", "a", {"Blob": "In"}, {"Big": "Mid"}, **kinds)
    graph.node("second", "b", {"Blob": "Mid"}, {"Big": "Big", "Results": "Out"}, **kinds)
    graph.feed("In", {"base64": base64.b64encode(data).decode()})
    sums = {"size": len(data), "sum": _sha(data[::-1]), "via": ["b"]}
    return Wanted(
        kind="large",
        body=graph.body(["Out", "Big"], **more),
        results={"Out": [sums], "Big": [_sha(data)]},
        attempts=_attempts(more),
    )


def picture(rng: random.Random) -> Wanted:
    """An image through two engines, as pixels between them and as a PNG at both ends."""
    import numpy as np  # noqa: PLC0415 - not for those that only want a plan

    shape = rng.choice([(8, 8), (40, 60, 3), (200, 300, 3), (64, 64, 4)])
    pixels = np.frombuffer(rng.randbytes(int(np.prod(shape))), np.uint8).reshape(shape)
    png = Image(pixels).encoded("image/png").bytes
    more = _retry(rng)
    graph = Graph()
    kinds = {"In": "Image", "Mid": "Image", "Shown": "Image"}
    graph.node("first", "a", {"Picture": "In"}, {"Shown": "Mid"}, **kinds)
    graph.node("second", "b", {"Picture": "Mid"}, {"Shown": "Shown", "Results": "Out"}, **kinds)
    graph.feed("In", {"base64": base64.b64encode(png).decode()})
    sums = {"shape": list(shape), "sum": _sha(pixels[::-1].tobytes()), "via": ["b"]}
    return Wanted(
        kind="picture",
        body=graph.body(["Out", "Shown"], **more),
        results={"Out": [sums], "Shown": [_sha(pixels.tobytes())]},
        attempts=_attempts(more),
    )


def interactive(rng: random.Random) -> Wanted:
    """A session that its client feeds as it goes, each message once whatever answer was lost."""
    engines, count = rng.choice((["a"], ["b", "a"])), rng.choice([1, 5, 30, 400])
    graph = _chain(engines)
    pushes = [{"n": number, "pause": 0.001} for number in range(count)]
    return Wanted(
        kind="interactive",
        body=graph.body(["Out"], interactive=True, timeoutSecond=LAST_RESORT_SECONDS),
        results={"Out": _via(range(count), engines, pause=0.001)},
        pushes=pushes,
    )


def socket(rng: random.Random) -> Wanted:
    """The same over a WebSocket, on which the client reads the results as well."""
    return replace(interactive(rng), kind="socket", socket=True)


def silent(rng: random.Random) -> Wanted:
    """An engine that does not say that it is ready, the first time: its time to start ends that."""
    engines, more = rng.choice((["s"], ["a", "s"])), _retry(rng)
    graph = _chain(engines)
    graph.feed("In", {"n": 5})
    return Wanted(
        kind="silent",
        body=graph.body(["Out"], **more),
        results={"Out": _via([5], engines)},
        attempts=_attempts(more),
        codes=frozenset() if more else frozenset({"start-timeout"}),
    )


def deaf(rng: random.Random) -> Wanted:
    """A session whose code does not hear that it is stopped: its worker is killed."""
    graph = _chain(["c"])
    graph.feed("In", {"n": 1, "deaf": True})
    return Wanted(
        kind="deaf",
        body=graph.body(["Out"]),
        results={"Out": []},
        stop_after=rng.uniform(0.0, 1.5),
    )


def stopped(rng: random.Random) -> Wanted:
    """A session that only ends because the client stops it."""
    engines = rng.choice((["a"], ["a", "b"]))
    graph = _chain(engines)
    graph.feed("In", {"n": 3, "wait": True})
    return Wanted(
        kind="stopped",
        body=graph.body(["Out"]),
        results={"Out": []},
        stop_after=rng.uniform(0.0, 1.5),
    )


def limited(rng: random.Random) -> Wanted:
    """A session that runs into its time limit."""
    graph = _chain(["b"])
    graph.feed("In", {"n": 3, "wait": True})
    return Wanted(
        kind="limited",
        body=graph.body(["Out"], timeoutSecond=round(rng.uniform(0.2, 1.0), 2)),
        results={"Out": []},
        codes=frozenset({"timeout"}),
    )


KINDS: Final[Sequence[tuple[Callable[[random.Random], Wanted], int]]] = (
    (single, 5), (chain, 5), (stream, 2), (fan, 4), (picky, 3), (crash, 1), (large, 2),
    (picture, 2), (interactive, 3), (stopped, 2), (deaf, 1), (limited, 1), (silent, 1), (socket, 3),
)  # fmt: skip


def engines(generation: int) -> dict[str, int]:
    """Return the engines that a generation of the suite has, and how many instances of each."""
    return {name: count for name, count in ENGINES.items() if SINCE.get(name, 1) <= generation}


def a_session(rng: random.Random, *, receivers: int, generation: int = GENERATION) -> Wanted:
    """Return the next session; every other one has webhooks."""
    kinds = [kind for kind in KINDS if SINCE.get(kind[0].__name__, 1) <= generation]
    makers, weights = zip(*kinds, strict=True)
    maker: Callable[[random.Random], Wanted] = rng.choices(makers, weights)[0]
    count = rng.choice([0, 0, 1, 1, 2])
    return replace(maker(rng), hooks=tuple(_a_hook(rng, receivers) for _ in range(count)))


def _a_hook(rng: random.Random, receivers: int) -> Hook:
    types = rng.choice([(ALL,), (ALL,), (SESSION_CHANGED,), (SESSION_CHANGED, *END, "said")])
    return Hook(receiver=rng.randrange(receivers), types=types, results=rng.choice(["", "Out"]))


def complaint(
    wanted: Wanted, record: SessionRecord, results: Results, *, hurt: frozenset[str]
) -> str:
    """Return what is wrong with how a session ended, or nothing.

    Args:
        wanted: What was asked for.
        record: What became of it.
        results: All its results.
        hurt: Instances that were killed, paused or cut off; only they may have cost a session.
    """
    if record.status == "finished":
        if wanted.kind == "limited":
            return "finished, although it only waits"
        if wanted.kind == "silent" and record.attempt == 1:
            return "finished, although an engine never said that it is ready"
        whole = wanted.stop_after is not None or results == wanted.results
        return "" if whole else f"finished with {_difference(results, wanted.results)}"
    for channel, messages in results.items():
        if messages != wanted.results[channel][: len(messages)]:
            return f"{record.status} with {_difference(results, wanted.results)}"
    if record.status == "canceled":
        return "" if wanted.stop_after is not None else "canceled, and nobody asked for it"
    return _failure_complaint(wanted, record, hurt)


def _failure_complaint(wanted: Wanted, record: SessionRecord, hurt: frozenset[str]) -> str:
    why = record.fault
    if record.status != "failed" or why is None:
        return f"is {record.status}"
    if why.code in wanted.codes:
        return ""
    if record.attempt - record.refused < wanted.attempts:
        return f"failed at attempt {record.attempt} of {wanted.attempts}: {why}"
    return "" if why.instance in hurt else f"failed by {why}"


def _difference(got: Results, wanted: Results) -> str:
    for channel, messages in wanted.items():
        have = got.get(channel, [])
        if have != messages:
            at = next(
                (at for at, (x, y) in enumerate(zip(have, messages, strict=False)) if x != y),
                min(len(have), len(messages)),
            )
            return (
                f"{len(have)} of {len(messages)} messages on {channel}, the first difference is at "
                f"{at}: {orjson.dumps(have[at : at + 1])[:200]!r}"
            )
    return "other channels"


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
