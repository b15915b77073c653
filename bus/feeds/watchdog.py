"""Noticing silence: of a whole connection, and of each stream on it. Pure; monotonic ns in.

An open socket proves nothing: a venue may stop sending on one stream, on all of them, or never
begin. So both clocks start when the connection opens or the stream is subscribed to, not with the
first frame. Silence of a stream is told by data of that stream alone (a subscription's
acknowledgement proves nothing either); silence of a connection by any bytes, pings included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Findings:
    """What changed since the last check.

    ``silent``: the connection has to be given up. ``went_stale`` and ``recovered``: stream names.
    """

    silent: bool
    went_stale: tuple[str, ...]
    recovered: tuple[str, ...]


class Watchdog:
    """Watches one connection and its streams.

    ``seen`` maps a stream to the time of its last data; the handler writes to it directly, one
    dictionary store per message. Bounded by the number of streams watched: the handler only
    writes streams it has subscribed to.
    """

    __slots__ = ("_limits_ns", "_silent_after_ns", "_stale", "seen")

    def __init__(self, silent_connection_s: float) -> None:
        self._silent_after_ns = int(silent_connection_s * NS_PER_S)
        self._limits_ns: dict[str, int] = {}
        self._stale: set[str] = set()
        self.seen: dict[str, int] = {}

    def watch(self, stream: str, stale_after_s: float, now_ns: int) -> None:
        """Expect data of ``stream`` from now on; ``stale_after_s`` 0 = any silence is fine."""
        self._limits_ns[stream] = int(stale_after_s * NS_PER_S)
        self._stale.discard(stream)
        self.seen[stream] = now_ns

    def unwatch(self, stream: str) -> None:
        """Expect nothing of ``stream`` any more."""
        self._limits_ns.pop(stream, None)
        self._stale.discard(stream)
        self.seen.pop(stream, None)

    def restart(self, now_ns: int) -> None:
        """A new connection: every stream's silence counts from now, stale ones get their chance."""
        for stream in self._limits_ns:
            self.seen[stream] = now_ns

    def is_stale(self, stream: str) -> bool:
        """Whether the last check found the stream silent."""
        return stream in self._stale

    def silence_s(self, stream: str, now_ns: int) -> float:
        """Seconds since the stream's last data (or since it is watched)."""
        return max(0, now_ns - self.seen.get(stream, now_ns)) / NS_PER_S

    def check(self, now_ns: int, last_frame_ns: int) -> Findings:
        """Compare with the limits; ``last_frame_ns``: last bytes of any kind, or the opening."""
        went_stale: list[str] = []
        recovered: list[str] = []
        for stream, limit_ns in self._limits_ns.items():
            late = limit_ns > 0 and now_ns - self.seen[stream] >= limit_ns
            if late and stream not in self._stale:
                self._stale.add(stream)
                went_stale.append(stream)
            elif not late and stream in self._stale:
                self._stale.discard(stream)
                recovered.append(stream)
        silent = now_ns - last_frame_ns >= self._silent_after_ns
        return Findings(silent, tuple(went_stale), tuple(recovered))
