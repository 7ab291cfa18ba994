"""Messages of a part on their way to their readers, and credits to its writers."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from blueengine.errors import BlueEngineError, ChannelError
from blueengine.kit.redis_link import Reply
from blueengine.runtime import frames
from blueengine.runtime.instance import Instance
from blueengine.runtime.part import NO_MORE, Output, Part, Route, Run, weight
from blueengine.runtime.refs import route_ref
from blueengine.wire import codec, command, names
from blueengine.wire.envelope import Header, Kind
from blueengine.wire.plan import CLIENT


def nobody(*_: object) -> NoReturn:
    """Stand for who is called, until somebody says that they are."""
    raise RuntimeError("nobody is there to be called")


class Sender:
    """Numbers messages and hands them to the transport."""

    def __init__(self, instance: Instance) -> None:
        """Send for the parts of ``instance``."""
        self._instance = instance
        self.on_settled: Callable[[Part], None] = nobody
        """Called when all that a part sent has arrived, or something will not; set by whoever ends
        parts."""

    def announce(self, part: Part) -> None:
        """Tell nodes that are near of the session before there is anything to read.

        They prepare while this part is at work, and are awake when their first message comes; with
        that they are told again.
        """
        session, attempt, mine = part.key
        for node in part.tells:
            header = Header(session, attempt, node, mine, "", 0, start=_start(part, node))
            self._instance.transport.announce(part.start.picks[node], header)

    def send(self, part: Part, output: Output, frame: frames.Out) -> None:
        """Send messages to every reader of a channel, at the end of this turn of the loop."""
        inline = 0 if frame.file else frame.size
        size = weight(inline, frame.size)
        for route in output.routes:
            if route.closed:
                continue
            blob = ""
            if frame.file:
                blob = route_ref(part, route, frame.file)
                self._instance.link_blob(frame.file, blob)
            if not (route.unsent and route.unsent[-1].takes(frame.meta, blob)):
                route.unsent.append(Run([], frame.meta, blob))
            run = route.unsent[-1]
            run.payloads += frame.payloads
            run.size += inline
            route.messages += len(frame.payloads)
            route.size += size
        if output.routes and not part.sending:
            part.sending = True
            self._instance.turn.soon(self._send_all, part)

    def _send_all(self, part: Part) -> None:
        """Send what this turn of the loop held back; an end in the same turn went with it."""
        part.sending = False
        for output in part.channels.values():
            for route in output.routes:
                if route.unsent:
                    self._send_unsent(part, output, route, Kind.DATA)

    def _send_unsent(self, part: Part, output: Output, route: Route, kind: Kind) -> None:
        """Send what a route held back; the last message is of this kind."""
        *before, last = route.unsent
        route.unsent = []
        for run in before:
            self._send_run(part, output, route, Kind.DATA, run)
        self._send_run(part, output, route, kind, last)

    def _send_run(self, part: Part, output: Output, route: Route, kind: Kind, run: Run) -> None:
        if route.closed:
            return
        session, attempt, node = part.key
        header = Header(
            session,
            attempt,
            route.node,
            node,
            output.channel,
            route.seq,
            kind,
            run.meta,
            run.blob,
            start=_start(part, route.node) if route.unheard else b"",
        )
        route.seq += len(run.payloads)
        route.unheard = False
        transport = self._instance.transport
        sent = transport.send(route.instance, header, *run.payloads)
        problem = sent.exception() if sent.done() else None
        if sent.done() and problem is None:  # it is where no death of this process can stop it
            return
        refused = isinstance(problem, ChannelError)
        if refused:  # the session fails of that, and not of a gap that the reader would find
            route.closed = True
        if transport.separate or refused:
            part.sent.under_way += 1
            sent.add_done_callback(partial(self._on_sent, part))
        else:
            self._instance.report(sent)

    def _on_sent(self, part: Part, sent: "asyncio.Future[Reply]") -> None:
        part.sent.under_way -= 1
        error = None if sent.cancelled() else sent.exception()
        if isinstance(error, BlueEngineError) and part.sent.lost is None:
            part.sent.lost = error
        if part.sent.settled:
            self.on_settled(part)

    def end_channels(self, part: Part) -> None:
        """Tell readers that nothing more comes, and writers that nothing more is read."""
        for output in part.channels.values():
            for route in output.routes:
                if not route.closed:
                    if route.unsent:
                        self._send_unsent(part, output, route, Kind.LAST)
                    else:
                        self._send_run(part, output, route, Kind.END, Run([b""]))
        if part.pushes:
            part.pushes.no_more()
        for (channel, sender), source in part.sources.items():
            if sender != CLIENT and not source.ended:
                self.give_credit(part, channel, sender, NO_MORE, 0)

    def give_credit(self, part: Part, channel: str, sender: str, messages: int, size: int) -> None:
        """Give room back to the sender of a channel."""
        session, attempt, node = part.key
        credit = command.Credit(session, attempt, sender, channel, node, messages, size)
        key = names.commands(part.start.picks[sender])
        fields = command.credit_fields(credit)
        self._instance.report(self._instance.link.send("XADD", key, "NOMKSTREAM", "*", *fields))


def _start(part: Part, reader: str) -> bytes:
    """Return the Start of a reader that was not told of the session."""
    mine = part.start
    start = command.Start(mine.session, mine.attempt, reader, mine.plan, mine.picks, b"", go=True)
    return codec.encode(start)
