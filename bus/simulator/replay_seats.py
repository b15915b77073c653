"""Who stands for whom in a replay: clients for captured connections, calls for captured ones.

Bookkeeping without I/O: the conductor asks, and does what follows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from bus.capture import Exchange, Frame
from bus.simulator.clients import Client
from bus.simulator.http_reply import HttpReply
from bus.simulator.replay_match import likeness


@dataclass(slots=True, eq=False)
class Seat:
    """One connected client: what it asked for, and the captured connections it stands for.

    ``heard`` counts what it said, ``played`` what it had to have said by this place.
    """

    client: Client
    wants: set[str] = field(default_factory=set)
    heard: Counter[str] = field(default_factory=Counter)
    played: Counter[str] = field(default_factory=Counter)
    lines: set[int] = field(default_factory=set)
    unread: bool = False
    gone: bool = False

    def has_said(self, what: frozenset[str]) -> bool:
        """Whether any of it was said as often as it had to be by now."""
        return any(self.heard[one] >= self.played[one] for one in what)


@dataclass(slots=True, eq=False)
class Line:
    """One captured connection that is open at this place of the capture.

    ``carried`` control messages to come were sent before the file began.
    """

    successor: bool = False
    carried: int = 0
    wants: set[str] = field(default_factory=set)
    seat: Seat | None = None
    early: list[Frame] = field(default_factory=list)
    given_up: bool = False


@dataclass(slots=True, eq=False)
class Call:
    """A REST call that waits for its answer. ``None``: the connection is to be cut instead.

    ``hung_up`` is set when the caller has closed its connection.
    """

    path: str
    query: Mapping[str, str]
    answer: asyncio.Future[HttpReply | None]
    hung_up: asyncio.Event = field(default_factory=asyncio.Event)


def free_seat(seats: list[Seat], line: Line) -> Seat | None:
    """The unoccupied client that asked for most of what this connection did.

    Any unoccupied one for a connection of which it is not known what it asked for.
    """
    free = [seat for seat in seats if not (seat.gone or seat.lines)]
    if not line.wants:
        return free[0] if free else None
    best = max(free, key=lambda seat: len(seat.wants & line.wants), default=None)
    return best if best is not None and best.wants & line.wants else None


def shared_seat(lines: Mapping[int, Line], number: int) -> Seat | None:
    """The client of another connection for the same things: of the predecessor, for a successor
    whose client opened no second connection; of the successor, for one whose client has left.
    """
    wants = lines[number].wants
    others = [
        other
        for key, other in lines.items()
        if key != number and other.seat and not other.seat.gone and other.wants & wants
    ]
    best = max(others, key=lambda other: len(other.wants & wants), default=None)
    return best.seat if best is not None else None


def find_twins(lines: Mapping[int, Line]) -> dict[int, list[Line]]:
    """For each connection the others that bring the same things: one replaces the other."""
    found: dict[int, list[Line]] = {}
    for number, line in lines.items():
        twins = [
            other for other in lines.values() if other is not line and other.wants & line.wants
        ]
        if twins:
            found[number] = twins
    return found


def call_for(calls: list[Call], exchange: Exchange) -> Call | None:
    """The waiting call that is most like the captured one; of equal ones the first."""
    best, most = None, 0
    for call in calls:
        score = likeness(exchange.path, exchange.query, call.path, call.query)
        if score is not None and score > most:
            best, most = call, score
    return best
