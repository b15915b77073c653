"""Which clients take which stream, and getting one message to all of them.

A stream is named ``SYMBOL@channel`` whatever the venue calls it, so that faults find it: silence
is told by the whole name, faults of the next diffs by the symbol. A stream nobody takes costs one
dictionary look-up.
"""

from __future__ import annotations

from bus.simulator.clients import Client
from bus.simulator.faults import Faults


class Fanout:
    """Subscriptions of all clients of one venue. Messages go out in the order of the calls."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._takers: dict[str, dict[Client, None]] = {}

    def subscribe(self, client: Client, stream: str) -> None:
        """Let the client have the stream from now on."""
        self._takers.setdefault(stream, {})[client] = None

    def unsubscribe(self, client: Client, stream: str) -> None:
        """Take the client off the stream, if it is on."""
        takers = self._takers.get(stream)
        if takers is not None:
            takers.pop(client, None)
            if not takers:
                del self._takers[stream]

    def leave(self, client: Client) -> None:
        """Take the client off everything."""
        for stream in list(self._takers):
            self.unsubscribe(client, stream)

    def wants(self, stream: str) -> bool:
        """Whether anybody takes this stream."""
        return stream in self._takers

    @property
    def stream_count(self) -> int:
        """Streams with at least one subscriber."""
        return len(self._takers)

    def publish(self, stream: str, now_ns: int, message: bytes, *, is_diff: bool = False) -> None:
        """Push one message to everybody who takes the stream, unless a fault is in the way.

        ``is_diff`` messages pass through the armed diff faults (drop, repeat, swap).
        """
        takers = self._takers.get(stream)
        if takers is None or self._faults.is_silent(stream, now_ns):
            return
        delivery = (message, tuple(takers))
        for text, clients in self._faults.pass_diff(stream, delivery) if is_diff else [delivery]:
            for client in clients:
                client.push(text)
