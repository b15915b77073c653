"""Turns of the event loop shared out fairly: big answers in helpings, conflated values on time.

When a crowd returns at once, what each of them missed is sent to a few at a time: a client whose
answer is on its way has its live messages queued behind it, each by itself, which costs several
times what it costs to write them with those of everybody else.

Shell. An answer of a thousand messages is milliseconds of work, and 150 clients may ask for one at
once; so each gets a helping, then the next client, and after ``SLICE_NS`` the loop gets its turn,
so that ticks of everybody else wait no longer than that.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from bus.clock import monotonic_ns, now_ns

SLICE_NS = 1_000_000
CROWD = 32
"""Clients with an answer on its way, beyond which further answers are not begun."""
ADMITTED_PER_TURN = 8
_NS = 1_000_000_000


class Pumped(Protocol):
    """A client with something to send."""

    def pump(self) -> bool:
        """Send one helping; whether there is more, and the socket takes it."""


class Timed(Protocol):
    """Who has things to do at certain times: the bridge."""

    @property
    def next_ns(self) -> int | None:
        """When; ``None`` for never."""

    def run_due(self, now_ns: int) -> None:
        """Do what is due."""

    def admit(self, count: int, now_ns: int) -> bool:
        """Begin up to ``count`` answers that were put off; whether more of them wait."""


class Pacer:
    """One for each server, on its event loop. Bounded by the number of clients: each waits once."""

    def __init__(self, timed: Timed) -> None:
        self._timed = timed
        self._waiting: dict[Pumped, None] = {}
        self._is_turn_due = False
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def close(self) -> None:
        """Nothing runs any more."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------ helpings

    def pump(self, client: Pumped) -> None:
        """Send what waits for ``client``: a helping now if nobody else waits, the rest in turns."""
        if client in self._waiting:
            return
        if self._waiting or self._is_busy:
            self._waiting[client] = None
        else:
            self._is_busy = True
            try:
                if client.pump():
                    self._waiting[client] = None
            finally:
                self._is_busy = False
        self._see_to_turn()

    @property
    def is_crowded(self) -> bool:
        """Whether so many answers are on their way that no other should be begun."""
        return len(self._waiting) >= CROWD

    def discard(self, client: Pumped) -> None:
        """The client is gone."""
        self._waiting.pop(client, None)

    def _see_to_turn(self, *, is_more: bool = False) -> None:
        if (self._waiting or is_more) and not self._is_turn_due:
            self._is_turn_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._is_turn_due = False
        end_ns = monotonic_ns() + SLICE_NS
        self._is_busy = True
        try:
            while self._waiting:
                client = next(iter(self._waiting))
                del self._waiting[client]
                if client.pump():
                    self._waiting[client] = None
                if monotonic_ns() >= end_ns:
                    break
        finally:
            self._is_busy = False
        room = min(CROWD - len(self._waiting), ADMITTED_PER_TURN)
        is_more = self._timed.admit(room, now_ns()) if room > 0 else False
        self._see_to_turn(is_more=is_more)

    # ------------------------------------------------------------------ things with a time

    def see_to_due(self) -> None:
        """Arm the timer for what is due next; to be called whenever that may have changed."""
        next_ns = self._timed.next_ns
        if next_ns is None or (self._timer is not None and self._timer_ns <= next_ns):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = next_ns
        delay_s = max(0, next_ns - now_ns()) / _NS
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._run_due)

    def _run_due(self) -> None:
        self._timer = None
        self._timed.run_due(now_ns())
        self.see_to_due()
