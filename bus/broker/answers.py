"""Snapshot and replay requests, from subscription to the last frame of the answer. No I/O.

Requests are answered side by side, a topic of each in turn, so that a snapshot of everything does
not delay the snapshot of one topic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bus.broker.last_value_cache import LastValueCache
from bus.clock import NS_PER_SECOND
from bus.errors import RequestError
from bus.wire.requests import (
    Gone,
    ReplayRequest,
    SnapshotRequest,
    encode_end,
    encode_gone,
    parse_request,
)

BURST: Final = 20_000
"""Messages of one answer that go out before its speed limit counts, unless half the subscribers'
high-water mark is less: an answer must not run over it by itself."""

_SLICE: Final = 1_000
"""Frames of one answer before the next one has its turn; fewer when many wait, so that each of
them gets on in every round of a few thousand frames."""

_LEAST_SLICE: Final = 16

MAX_REQUESTS: Final = 10_000
"""Requests waiting at once; further ones are dropped and counted: their consumers ask again."""

_SUBSCRIBE: Final = 1
_UNSUBSCRIBE: Final = 0


@dataclass(frozen=True, slots=True)
class AnswerStats:
    """What was asked and answered since the start."""

    snapshots: int
    """Snapshots completed."""
    replays: int
    """Replays completed, refusals not included."""
    gone: int
    """Replays refused because the position is no longer held."""
    cancelled: int
    """Requests withdrawn before their answer was complete."""
    malformed: int
    """Requests that cannot be understood."""
    refused: int
    """Requests beyond ``MAX_REQUESTS``."""
    frames: int
    """Frames sent in answers."""
    waiting: int
    """Requests being answered now."""


class _Answer:
    """One request and how far its answer is."""

    __slots__ = ("began_ns", "gone", "part", "parts", "request", "sent", "ticket")

    def __init__(self, request: SnapshotRequest | ReplayRequest, ticket: int, now_ns: int) -> None:
        self.request = request
        self.ticket = ticket
        self.began_ns = now_ns
        self.sent = 0
        self.gone: Gone | None = None
        self.parts: Iterator[list[bytes]] | None = None
        self.part: list[bytes] = []


class Answers:
    """Takes subscription frames, gives answer frames. One thread only; ``now_ns`` is monotonic.

    ``rate`` (messages/s) limits each answer after its burst; ``send_hwm`` (0 = no limit) is the
    mark that the burst keeps clear of.
    """

    def __init__(self, cache: LastValueCache, rate: int, send_hwm: int = 0) -> None:
        self._cache: Final = cache
        self._burst: Final = min(BURST, max(1, send_hwm // 2)) if send_hwm else BURST
        self._rate: Final = rate
        self._waiting: dict[bytes, _Answer] = {}
        self._snapshots = self._replays = self._gone = self._cancelled = 0
        self._malformed = self._refused = self._frames = 0

    def on_subscription(self, message: bytes, ticket: int, now_ns: int) -> None:
        """Take what an XPUB socket received. Ordinary subscriptions and garbage are let pass.

        ``ticket`` says when the request came, in the owner's count: see :meth:`frames`.
        """
        if not message or message[0] not in (_SUBSCRIBE, _UNSUBSCRIBE):
            self._malformed += 1
            return
        key = message[1:]
        if message[0] == _UNSUBSCRIBE:
            if self._waiting.pop(key, None) is not None:
                self._cancelled += 1
            return
        try:
            request = parse_request(key)
        except RequestError:
            self._malformed += 1
            return
        if request is None or key in self._waiting:
            return
        if len(self._waiting) >= MAX_REQUESTS:
            self._refused += 1
            return
        self._waiting[key] = _Answer(request, ticket, now_ns)

    @property
    def waiting(self) -> int:
        """Requests not answered in full yet."""
        return len(self._waiting)

    def frames(self, ticket: int, limit: int, now_ns: int) -> Iterator[bytes]:
        """At most ``limit`` frames of the answers that may go out now.

        Only requests with a ticket of at most ``ticket`` are answered: for those everything the
        proxy forwarded before the request has been stored.
        """
        budget = limit
        served = True
        turn = max(_LEAST_SLICE, min(_SLICE, limit // max(1, len(self._waiting))))
        while served and budget > 0:
            served = False
            for key, answer in list(self._waiting.items()):
                if answer.ticket > ticket or budget <= 0:
                    continue
                allowed = self._burst + self._rate * (now_ns - answer.began_ns) // NS_PER_SECOND
                room = min(allowed - answer.sent, budget, turn)
                if room <= 0:
                    continue
                served = True
                part = self._next_part(answer, room)
                if part is None:
                    del self._waiting[key]
                    budget -= 1
                    self._frames += 1
                    yield self._marker(answer)
                    continue
                # Behind the others, also in the next call: whoever came first must not go on first.
                self._waiting[key] = self._waiting.pop(key)
                root = answer.request.root
                answer.sent += len(part)
                budget -= len(part)
                self._frames += len(part)
                for frame in part:
                    yield root + frame

    def _next_part(self, answer: _Answer, room: int) -> list[bytes] | None:
        """At most ``room`` more frames, of one topic; None at the end."""
        if answer.parts is None:
            request = answer.request
            if isinstance(request, SnapshotRequest):
                answer.parts = self._cache.snapshot(request.prefix)
            else:
                found = self._cache.replay(request.topic, request.epoch, request.seq)
                if isinstance(found, Gone):
                    answer.gone, found = found, []
                answer.parts = iter([found])
        if not answer.part:
            following = next(answer.parts, None)
            if following is None:
                return None
            answer.part = following
        part, answer.part = answer.part[:room], answer.part[room:]
        return part

    def _marker(self, answer: _Answer) -> bytes:
        request = answer.request
        if isinstance(request, SnapshotRequest):
            self._snapshots += 1
        elif answer.gone is not None:
            self._gone += 1
            return encode_gone(request, answer.gone.oldest_epoch, answer.gone.oldest_seq)
        else:
            self._replays += 1
        return encode_end(request, answer.sent)

    def stats(self) -> AnswerStats:
        """The figures, frozen."""
        return AnswerStats(
            snapshots=self._snapshots,
            replays=self._replays,
            gone=self._gone,
            cancelled=self._cancelled,
            malformed=self._malformed,
            refused=self._refused,
            frames=self._frames,
            waiting=len(self._waiting),
        )
