"""From an old connection to a new one without a hole, a repeat or a step back. Pure.

Both bring the same events for a while, and neither keeps the other's pace. Where order matters
(trades, book changes) an event of the new one waits here until the old one has come so far that
nothing lies between; from then on the stream is the new one's, and the old one's repeats are told
by their numbers. A stream is handed over when the new connection has brought data of it, and, if
ordered, has joined. Quiet streams have until the deadline: then whatever waits is let go in order.

A stream that the old connection went on bringing, and the new one never brought, was not subscribed
to in truth: the new connection is not fit to take over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEADLINE_NS: Final = 15_000_000_000
"""How long quiet streams are waited for."""
SETTLE_NS: Final = 5_000_000_000
"""Data of the old connection within this time proves nothing: the new one was subscribing."""
MAX_HELD: Final = 20_000
"""Events that wait, per stream; beyond it they are let go, and count as not joined."""

Held = tuple[Any, int]
"""An event and its ``recv_ns``."""


@dataclass(frozen=True, slots=True)
class Order:
    """How the events of one stream are numbered.

    ``first(event)``: its first number. ``position()``: the last number published, None when
    nothing has to wait (there is no book to keep in step).
    """

    first: Callable[[Any], int]
    position: Callable[[], int | None]


@dataclass(slots=True)
class _Stream:
    order: Order | None
    brought: bool = False
    joined: bool = False
    old_last_ns: int = -1
    held: list[Held] = field(default_factory=list)


class Handover:
    """One handover. Monotonic ns in; events to be published out.

    ``streams`` maps each stream to its order, None where order does not matter. An unknown stream
    (removed meanwhile) is passed through.
    """

    def __init__(self, streams: Mapping[str, Order | None], now_ns: int) -> None:
        self._streams = {name: _Stream(order) for name, order in streams.items()}
        self._started_ns = now_ns
        self._waiting = len(self._streams)

    @property
    def complete(self) -> bool:
        """Whether every stream is handed over."""
        return self._waiting == 0

    def from_new(self, name: str, event: Any, recv_ns: int) -> list[Held]:
        """An event of the new connection; what is to be published now, in order."""
        stream = self._streams.get(name)
        if stream is None or (stream.brought and stream.joined):
            return [(event, recv_ns)]
        stream.brought = True
        order = stream.order
        if order is None:
            return self._join(stream, [(event, recv_ns)])
        stream.held.append((event, recv_ns))
        return self._joined(stream) if len(stream.held) <= MAX_HELD else self._flush(stream)

    def after_old(self, name: str, now_ns: int) -> list[Held]:
        """The old connection's event has been published; what may follow it now, in order."""
        stream = self._streams.get(name)
        if stream is None:
            return []
        stream.old_last_ns = now_ns
        return self._joined(stream) if stream.held else []

    def missing(self, now_ns: int) -> tuple[str, ...] | None:
        """None before the deadline; then the streams only the old connection still brings."""
        if now_ns - self._started_ns < DEADLINE_NS:
            return None
        settled_ns = self._started_ns + SETTLE_NS
        return tuple(
            name
            for name, stream in self._streams.items()
            if not stream.brought and stream.old_last_ns > settled_ns
        )

    def let_go(self) -> list[tuple[str, list[Held]]]:
        """Everything that still waits, stream by stream; nothing waits from now on."""
        left = [(name, stream.held) for name, stream in self._streams.items() if stream.held]
        self._streams.clear()
        self._waiting = 0
        return left

    def _joined(self, stream: _Stream) -> list[Held]:
        assert stream.order is not None
        position = stream.order.position()
        if position is None or stream.order.first(stream.held[0][0]) <= position + 1:
            return self._flush(stream)
        return []

    def _flush(self, stream: _Stream) -> list[Held]:
        held, stream.held = stream.held, []
        return self._join(stream, held)

    def _join(self, stream: _Stream, events: list[Held]) -> list[Held]:
        if not stream.joined:
            stream.joined = True
            self._waiting -= 1
        return events
