"""Plays a capture to whoever connects: everything again, in the order in which it was captured.

One place in the capture for all clients together. Each record has its turn, and the next has
its turn only when the client has taken the one before, so that the feed's code gets frames and REST
answers in exactly the captured order, across all its connections:

* a frame is sent to the client that stands for its connection (see ``replay_match``), with TCP
  back-pressure; none is dropped. While two connections bring the same, as one replaces the other,
  a frame of one is sent when the last of the other has been read;
* a REST answer waits until the call is made, and the capture waits with it. Before it everything
  sent must have been read (a WebSocket ping tells), after it the caller must have hung up;
* a control message is waited for, as what comes after it may be the answer;
* a connection that the venue or the network ended is ended in the same way, after all that was
  sent on it has been read; its client comes back by itself, and the capture waits for it;
* a connection that the feed itself ended has a successor, or was the last: nothing is done.

Whoever does not come (a feed with other settings does not ask for all that was captured) is waited
for once, ``patience_s``; then the record is passed over and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from websockets.exceptions import ConnectionClosed

from bus.capture import CAUSE, Closed, Exchange, Frame, Head, Hole, Opened, Record, Sent
from bus.runtime import get_logger
from bus.simulator.captured import Captures
from bus.simulator.clients import Client
from bus.simulator.http_reply import HttpReply
from bus.simulator.replay_match import atoms
from bus.simulator.replay_seats import (
    Call,
    Line,
    Seat,
    call_for,
    find_twins,
    free_seat,
    shared_seat,
)

_log = get_logger("simulator.replay")

PATIENCE_S: Final = 10.0
YIELD_EVERY: Final = 128
"""Records after which other tasks get their turn."""
MAX_EARLY: Final = 1_000
"""Frames kept of a connection that has not yet said what it wants."""
HANG_UP_S: Final = 5.0
SUCCESSOR_S: Final = 1.0
"""How long a second connection is waited for: announced replacements are made again, those that
an operator or a connection's age brought about are not."""
ROUNDS: Final = 3
"""Pings after a REST answer: turns of the client's loop in which its caller gets it."""
SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
"""Codes that a close frame can carry; a connection that ended with another one was cut."""

T = TypeVar("T")


@dataclass(slots=True)
class Progress:
    """Counters of one venue's replay; see ``Conductor.figures``."""

    records: int = 0
    sent: int = 0
    answered: int = 0
    not_asked: int = 0
    not_taken: int = 0
    not_said: int = 0
    holes: int = 0
    complete_runs: int = 0
    time_ns: int = 0


class Conductor:
    """Plays ``captures`` once :meth:`run` is called. ``speed`` ``None``: as fast as it is taken.

    ``end``: ``idle``, ``close`` or ``loop``, as in the settings.
    """

    def __init__(
        self,
        captures: Captures,
        *,
        speed: float | None,
        end: str,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._captures = captures
        self._speed = speed
        self._end = end
        self.patience_s = patience_s
        self._changed = asyncio.Event()
        self._seats: list[Seat] = []
        self._calls: list[Call] = []
        self._lines: dict[int, Line] = {}
        self._twins: dict[int, list[Line]] = {}
        self._met_anybody = False
        self._not_asked: set[Hashable] = set()
        self._run = self._part = self._first_part = 0
        self._start_s = 0.0
        self._first_ns = 0
        self.progress = Progress()

    # what the server calls

    def join(self, client: Client) -> Seat:
        """A client has connected."""
        seat = Seat(client)
        self._seats.append(seat)
        self._notice()
        return seat

    def heard(self, seat: Seat, message: str | bytes) -> None:
        """A client has sent a control message. Its answer, if any, is in the capture."""
        said = atoms(message)
        seat.wants |= said
        seat.heard.update(said)
        self._notice()

    def leave(self, seat: Seat) -> None:
        """A client has gone."""
        seat.gone = True
        self._seats.remove(seat)
        self._notice()

    def ask(self, path: str, query: Mapping[str, str]) -> Call:
        """A REST call has come in; give it up with :meth:`withdraw`."""
        call = Call(path, query, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        self._notice()
        return call

    def withdraw(self, call: Call) -> None:
        """The caller has gone without an answer, or has hung up after it."""
        if call in self._calls:
            self._calls.remove(call)
        call.hung_up.set()

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat.

        ``playback_sent`` frames, ``playback_answered`` REST calls; ``playback_not_asked`` answers
        nobody asked for, ``playback_not_taken`` frames nobody was there for, ``playback_not_said``
        control messages that did not come: all passed over;
        ``playback_complete``: times the end was reached.
        """
        progress = self.progress
        return {
            "playback_records": progress.records,
            "playback_players": len(self._seats),
            "playback_sent": progress.sent,
            "playback_answered": progress.answered,
            "playback_not_asked": progress.not_asked,
            "playback_not_taken": progress.not_taken,
            "playback_not_said": progress.not_said,
            "playback_complete": progress.complete_runs,
        }

    def state(self) -> dict[str, object]:
        """Progress, for the control endpoint."""
        return {
            **self.figures(),
            "holes": self.progress.holes,
            "cuts": len(self._captures.cuts),
            "time_ns": self.progress.time_ns,
            "waiting_calls": [call.path for call in self._calls],
            "complete_runs": self.progress.complete_runs,
        }

    # playing

    async def run(self) -> None:
        """Play, for ever if set to loop. Raises ConfigError when a file cannot be read any more."""
        while True:
            self._lines.clear()
            self._run = self._part = 0
            for number, record in enumerate(self._captures.records()):
                if number % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
                await self._play(record)
                self.progress.records += 1
            await self._everything_read()
            self.progress.complete_runs += 1
            _log.info("replay complete", **self.figures())
            if self._end == "idle":
                return
            for seat in list(self._seats):
                if self._end == "close":
                    await seat.client.close(1000)
                else:
                    self._cut(seat)
            if self._end != "loop":
                return

    async def _play(self, record: Record) -> None:
        if isinstance(record, Frame):
            await self._due(record.time_ns)
            await self._frame(record)
        elif isinstance(record, Exchange):
            await self._due(record.time_ns)
            await self._exchange(record)
        elif isinstance(record, Sent):
            await self._sent(record)
        elif isinstance(record, Opened):
            line = self._lines.setdefault(record.connection, Line(record.successor))
            line.carried = record.carried_sent
        elif isinstance(record, Closed):
            await self._due(record.time_ns)
            await self._closed(record)
        elif isinstance(record, Head):
            self._head(record)
        elif isinstance(record, Hole):
            self.progress.holes += 1
            _log.warning("the capture lacks records", records=record.records, why=record.why)

    def _head(self, head: Head) -> None:
        """A new file: of another run, everything begins anew; else all goes on."""
        if (self._run, self._part) == (head.run, head.part - 1):
            self._part = head.part
            return
        if self._run:
            for seat in list(self._seats):
                self._cut(seat)
        self._lines.clear()
        self._run, self._part = head.run, head.part
        self._first_part = head.part
        self._start_s, self._first_ns = asyncio.get_running_loop().time(), 0

    async def _due(self, time_ns: int) -> None:
        self.progress.time_ns = time_ns
        if self._speed is None:
            return
        self._first_ns = self._first_ns or time_ns
        at_s = self._start_s + (time_ns - self._first_ns) / 1e9 / self._speed
        wait_s = at_s - asyncio.get_running_loop().time()
        if wait_s > 0.001:
            await asyncio.sleep(wait_s)

    async def _frame(self, frame: Frame) -> None:
        line = self._lines.setdefault(frame.connection, Line())
        if line.seat is None and not line.wants and len(line.early) < MAX_EARLY:
            line.early.append(frame)  # until it is known which client this is for
            return
        await self._deliver(frame, line)

    async def _deliver(self, frame: Frame, line: Line) -> None:
        while (seat := await self._seat_of(frame.connection, line)) is not None:
            for twin in self._twins.get(frame.connection, ()):
                if twin.seat is not None and twin.seat is not seat and twin.seat.unread:
                    await self._read(twin.seat)  # two sockets have no order between them
            try:
                seat.unread = True
                await seat.client.send(frame.payload)
            except ConnectionClosed:
                seat.gone = True
            else:
                self.progress.sent += 1
                return
        self.progress.not_taken += 1

    async def _sent(self, sent: Sent) -> None:
        """What the feed said may have been an answer, and what follows may be one to it."""
        line = self._lines.setdefault(sent.connection, Line())
        first = not line.wants
        said = atoms(sent.message)
        line.wants |= said
        self._twins = find_twins(self._lines)
        seat = await self._seat_of(sent.connection, line) if first else line.seat
        if seat is None:
            return
        if first:
            early, line.early = line.early, []
            for frame in early:
                await self._deliver(frame, line)
        if line.carried or len(seat.lines) > 1 or any("ping" in one for one in said):
            line.carried = max(0, line.carried - 1)
            return  # said long ago, said on a connection that there is not, or said by the clock
        seat.played.update(said)
        patience_s = 0.0 if said in self._not_asked else self.patience_s
        if await self._wait(lambda: seat.gone or seat.has_said(said) or None, patience_s) is None:
            self._not_asked.add(said)
            seat.played.subtract(said)
            self.progress.not_said += 1

    async def _closed(self, closed: Closed) -> None:
        line = self._lines.pop(closed.connection, None)
        self._twins = find_twins(self._lines)
        if line is None or line.seat is None:
            return
        seat = line.seat
        if closed.reason == "left" or seat.gone:
            seat.lines.discard(closed.connection)
            return
        await self._read(seat)
        seat.lines.discard(closed.connection)
        if seat.lines:  # it stands for the successor as well
            return
        if closed.code not in SENDABLE:
            self._cut(seat)
        else:
            seat.gone = True
            await seat.client.close(closed.code, closed.detail)

    async def _exchange(self, exchange: Exchange) -> None:
        key = (exchange.path, frozenset(exchange.query.items()))
        # Asked for when a file began, so that it can be played alone: after another it is not.
        needless = CAUSE in exchange.headers and self._part > self._first_part
        patience_s = 0.0 if needless or key in self._not_asked else self.patience_s
        call = await self._wait(lambda: call_for(self._calls, exchange), patience_s)
        if call is None:
            if not needless:
                self._not_asked.add(key)
            self.progress.not_asked += 1
            _log.info("a captured answer was not asked for", path=exchange.path)
            return
        self._not_asked.discard(key)
        await self._everything_read()
        self._calls.remove(call)
        if not call.answer.done():
            headers = {name: text for name, text in exchange.headers.items() if name != CAUSE}
            reply = HttpReply(exchange.status, exchange.body, headers) if exchange.status else None
            call.answer.set_result(reply)
            self.progress.answered += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(call.hung_up.wait(), HANG_UP_S)
        for _ in range(ROUNDS):
            await self._everything_read(ask_all=True)

    # who stands for what

    async def _seat_of(self, number: int, line: Line) -> Seat | None:
        if line.seat is not None and not line.seat.gone:
            return line.seat
        seat: Seat | None = None
        if line.seat is not None:  # its client left early: its successor gets the rest
            seat = shared_seat(self._lines, number)
        elif line.successor:
            patience_s = min(SUCCESSOR_S, self.patience_s)
            seat = await self._wait(lambda: free_seat(self._seats, line), patience_s)
            seat = seat or shared_seat(self._lines, number)
        if seat is None:
            patience_s = 0.0 if line.given_up else self.patience_s
            seat = await self._wait(lambda: free_seat(self._seats, line), patience_s)
        line.given_up = seat is None
        line.seat = seat
        if seat is not None:
            seat.lines.add(number)
        return seat

    # waiting

    def _notice(self) -> None:
        self._met_anybody = True
        self._changed.set()

    async def _wait(self, find: Callable[[], T | None], patience_s: float) -> T | None:
        """What ``find`` finds, now or within ``patience_s``; the first client may take for ever."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        until_s = began_s + patience_s
        while (found := find()) is None:
            self._changed.clear()
            left_s = until_s - loop.time() if self._met_anybody else None
            if left_s is not None and left_s <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)
            if left_s is None:
                until_s = loop.time() + patience_s
        self._start_s += loop.time() - began_s  # the capture's clock stood still
        return found

    async def _everything_read(self, *, ask_all: bool = False) -> None:
        for seat in list(self._seats):
            if seat.unread or ask_all:
                await self._read(seat)

    async def _read(self, seat: Seat) -> None:
        seat.unread = False
        try:
            await seat.client.wait_until_read()
        except ConnectionClosed:
            seat.gone = True

    def _cut(self, seat: Seat) -> None:
        seat.gone = True
        seat.client.abort()
