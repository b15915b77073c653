"""Noticing silence: of a whole connection, and of each stream on it. Pure; monotonic ns in.

An open socket proves nothing: a venue may stop sending on one stream, on all of them, or never
begin. So both clocks start when the connection opens or the stream is subscribed to, not with the
first frame. Silence of a stream is told by data of that stream alone (a subscription's
acknowledgement proves nothing either); silence of a connection by any bytes, pings included.

How long a stream may be silent is learned from itself: some multiple of its longest pause of late,
never less than a floor for its kind. Until enough has been seen, the set limit holds. Pauses that
were silence are not learned from, nor are those over a reconnection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NS_PER_S: Final = 1_000_000_000
LEARN_SAMPLES: Final = 30
LEARN_NS: Final = 60 * NS_PER_S
"""A rhythm is known after so many pauses over so much time."""
PAUSES: Final = 8
"""A stream is silent after so many times its longest pause of late."""
HALF_LIFE_NS: Final = 600 * NS_PER_S
"""In this time a longest pause counts half."""
MOST_NS: Final = 3_600 * NS_PER_S
"""However quiet a stream is: after an hour it is silent."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What changed since the last check.

    ``silent``: the connection has to be given up. ``went_stale`` and ``recovered``: stream names.
    """

    silent: bool
    went_stale: tuple[str, ...]
    recovered: tuple[str, ...]


class _Rhythm:
    """How long one stream may be silent: as set, then as learned."""

    __slots__ = (
        "_at_ns",
        "_began_ns",
        "_longest_ns",
        "_samples",
        "floor_ns",
        "last_ns",
        "limit_ns",
        "since_ns",
    )

    def __init__(self, set_ns: int, floor_ns: int, now_ns: int) -> None:
        self.limit_ns = set_ns
        self.last_ns = self.since_ns = now_ns
        self.floor_ns = floor_ns
        self._began_ns = self._at_ns = now_ns
        self._longest_ns = 0.0
        self._samples = 0

    @property
    def learned(self) -> bool:
        """Whether the limit is the stream's own."""
        return self._samples > LEARN_SAMPLES

    def learn(self, pause_ns: int, now_ns: int) -> None:
        """One pause between two data, as seen from check to check."""
        faded = self._longest_ns * 0.5 ** ((now_ns - self._at_ns) / HALF_LIFE_NS)
        self._longest_ns = max(float(pause_ns), faded)
        self._at_ns = now_ns
        if self._samples < LEARN_SAMPLES:
            self._samples += 1
        if self._samples >= LEARN_SAMPLES and now_ns - self._began_ns >= LEARN_NS:
            self._samples = LEARN_SAMPLES + 1
            learned_ns = max(self.floor_ns, int(PAUSES * self._longest_ns))
            self.limit_ns = min(learned_ns, MOST_NS)


class Watchdog:
    """Watches one connection and its streams.

    ``seen`` maps a stream to the time of its last data; the handler writes to it directly, one
    dictionary store per message. Bounded by the number of streams watched: the handler only
    writes streams it has subscribed to.
    """

    __slots__ = ("_rhythms", "_silent_after_ns", "_stale", "seen")

    def __init__(self, silent_connection_s: float) -> None:
        self._silent_after_ns = int(silent_connection_s * NS_PER_S)
        self._rhythms: dict[str, _Rhythm] = {}
        self._stale: set[str] = set()
        self.seen: dict[str, int] = {}

    def watch(
        self, stream: str, stale_after_s: float, now_ns: int, *, floor_s: float = 0.0
    ) -> None:
        """Expect data of ``stream`` from now on; ``stale_after_s`` 0 = any silence is fine.

        ``floor_s``: a learned limit is never below it; 0 = learn nothing, keep to the limit set.
        """
        self._rhythms[stream] = _Rhythm(
            int(stale_after_s * NS_PER_S), int(floor_s * NS_PER_S), now_ns
        )
        self._stale.discard(stream)
        self.seen[stream] = now_ns

    def unwatch(self, stream: str) -> None:
        """Expect nothing of ``stream`` any more."""
        self._rhythms.pop(stream, None)
        self._stale.discard(stream)
        self.seen.pop(stream, None)

    def restart(self, now_ns: int) -> None:
        """A new connection: every stream's silence counts from now, stale ones get their chance."""
        for stream, rhythm in self._rhythms.items():
            self.seen[stream] = rhythm.last_ns = rhythm.since_ns = now_ns

    def has_spoken(self, stream: str) -> bool:
        """Whether data of the stream came since it is watched, on this connection.

        ``seen`` alone does not tell: silence counts from the opening, which is no data.
        """
        rhythm = self._rhythms.get(stream)
        return rhythm is not None and self.seen[stream] > rhythm.since_ns

    def is_stale(self, stream: str) -> bool:
        """Whether the last check found the stream silent."""
        return stream in self._stale

    def is_learned(self, stream: str) -> bool:
        """Whether the stream's own rhythm is known: it is one that speaks regularly."""
        rhythm = self._rhythms.get(stream)
        return rhythm is not None and rhythm.learned

    def limit_s(self, stream: str) -> float:
        """How long the stream may be silent, 0 = for ever."""
        return self._rhythms[stream].limit_ns / NS_PER_S

    def silence_s(self, stream: str, now_ns: int) -> float:
        """Seconds since the stream's last data (or since it is watched)."""
        return max(0, now_ns - self.seen.get(stream, now_ns)) / NS_PER_S

    def check(self, now_ns: int, last_frame_ns: int) -> Findings:
        """Compare with the limits; ``last_frame_ns``: last bytes of any kind, or the opening."""
        went_stale: list[str] = []
        recovered: list[str] = []
        for stream, rhythm in self._rhythms.items():
            seen_ns = self.seen[stream]
            late = rhythm.limit_ns > 0 and now_ns - seen_ns >= rhythm.limit_ns
            if late and stream not in self._stale:
                self._stale.add(stream)
                went_stale.append(stream)
            elif not late and stream in self._stale:
                self._stale.discard(stream)
                recovered.append(stream)
                rhythm.last_ns = seen_ns
            elif not late and seen_ns != rhythm.last_ns:
                if rhythm.limit_ns and rhythm.floor_ns:
                    rhythm.learn(seen_ns - rhythm.last_ns, now_ns)
                rhythm.last_ns = seen_ns
        silent = now_ns - last_frame_ns >= self._silent_after_ns
        return Findings(silent, tuple(went_stale), tuple(recovered))
