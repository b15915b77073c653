"""What one client has not been sent yet, and what becomes of it when the client reads slowly.

Pure but for :meth:`Outbox.write`, which the shell supplies. A client is *direct* while nothing of
its own waits: shared frames go straight to its socket. It is not while

* an answer it asked for (a thousand past trades) is still being made, a helping a loop turn;
* its socket is behind: then it is *pressed*. Messages of state topics are not kept for it, only a
  mark per topic; the value is taken from the last-value cache when the socket drains. Lossless
  messages queue, as references to the shared frames. At the limit the oldest subscription that is
  in the way decides: the connection is closed, or its oldest messages are dropped and announced;
* it asked for batches (``batch_ms``).

Bounds, by construction: the socket's buffer (``pressure_bytes`` and one turn's writes), a batch,
the queue (``limit_bytes`` and one turn's), one mark a topic, and one answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol

from bus.wsbridge.channels import Channel, Mark, Unit
from bus.wsbridge.frames import array_of
from bus.wsbridge.lines import Kept
from bus.wsbridge.messages import (
    ConnectionStatus,
    Control,
    Gap,
    encode,
    epoch_text,
    rfc3339,
)
from bus.wsbridge.notices import Notice
from bus.wsbridge.steps import Given
from bus.wsbridge.style import OnSlow, Wire

HELPING_BYTES: Final = 65_536
HELPING_MESSAGES: Final = 64
MAX_BATCH_MESSAGES: Final = 1_000
"""More of them do not wait for the end of their ``batch_ms``."""
_RESYNC: Final = Mark(-1, 0)


class _Entry(NamedTuple):
    """One thing that waits: bytes of a channel (``unit``), control bytes, or a message to make."""

    unit: Unit | None
    at_ns: int = 0
    channel: Channel[Any] | None = None
    given: Given | None = None


class Source(Protocol):
    """Who makes messages on their way out: the fan-out, which has the last values."""

    def show(self, kept: Kept, given: Given, wire: Wire) -> bytes:
        """One encoded message of a run of past ones; empty when it is malformed."""

    def latest(self, channel: Channel[Any], mark: Mark, client: Any) -> list[bytes]:
        """The encoded messages that bring a client up to date on a channel."""

    def rebuilt(self, channel: Channel[Any], client: Any) -> list[bytes]:
        """The encoded messages that begin a book anew for a client."""


class Outbox(ABC):
    """See the module. The shell subclasses it."""

    # Attributes of a connection without slots are a dict of 1.6 KiB for everybody.
    __slots__ = (
        "_gaps", "_given", "_given_done_ns", "_marks", "_queue", "_queued_bytes", "batch",
        "direct_bytes", "dropped_messages", "is_direct", "is_overrun", "is_pressed",
        "limit_age_ns", "limit_bytes", "on_slow", "pending", "pressure_bytes", "wire",
    )  # fmt: skip

    def __init__(self) -> None:
        self.wire = Wire()
        self.pressure_bytes = 262_144
        self.limit_bytes = 1_048_576
        self.limit_age_ns = 5_000_000_000
        self.pending: list[bytes] = []
        self.batch: list[bytes] = []
        self.is_direct = True
        self.direct_bytes = 0
        self.is_pressed = False
        self.is_overrun = False
        self.dropped_messages = 0
        self.on_slow: dict[str, OnSlow] = {}
        self._queue: list[_Entry] = []  # a deque would be 760 bytes for everybody who is not slow
        self._queued_bytes = 0
        self._given = 0
        self._given_done_ns = 0
        self._marks: dict[Channel[Any], Mark] = {}
        self._gaps: dict[tuple[Channel[Any], int], tuple[int, int]] = {}

    # ------------------------------------------------------------------ the shell's part

    @abstractmethod
    def write(self, blob: bytes) -> None:
        """Hand bytes to the socket."""

    def write_rest(self, blob: bytes, taken: int) -> None:
        """Hand on what is left of bytes of which the socket took some already."""
        self.write(blob[taken:])

    def route(self) -> int:
        """Where shared frames may be written past everything here; -1: nowhere."""
        return -1

    def reroute(self) -> None:
        """``is_direct`` may have changed, and with it :meth:`route`."""
        return

    # ------------------------------------------------------------------ in

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits for the socket or for its turn."""
        return bool(self._queue or self._marks or self._gaps)

    @property
    def has_answer_waiting(self) -> bool:
        """Whether an answer is still being made: the next request waits for it."""
        return self._given > 0

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait here."""
        return self._queued_bytes

    def tell(self, message: Control, now_ns: int = 0) -> None:
        """A message for this client alone, after everything before it."""
        self.notify(Notice(message), now_ns)

    def notify(self, notice: Notice, now_ns: int = 0) -> None:
        """A message for this client and others, after everything before it."""
        told = notice.on(self.wire)
        if self._queue or self._marks or self._gaps:
            self._put(_Entry(Unit(told.payload), now_ns))
            return
        self.close_batch()
        self.pending.append(told.frame)

    def give(self, given: Given) -> None:
        """Messages that are made when their turn comes."""
        self.close_batch()
        self._queue.append(_Entry(None, given=given))
        self._given += 1
        self._set_direct(False)

    def hold(self, channel: Channel[Any], units: Sequence[Unit], mark: Mark, now_ns: int) -> None:
        """Units of a channel for a client that is not direct; it was at ``mark`` before them."""
        if not self.is_pressed and not self._queue and not self._marks:
            self.batch += [unit.data for unit in units]  # nothing is behind: it only batches
            if len(self.batch) >= MAX_BATCH_MESSAGES:
                self.close_batch()
            return
        if channel.topic.is_state and self.is_pressed:
            self._marks.setdefault(channel, mark)
            return
        if channel in self._marks:
            return  # it will be brought up to date, with these
        for unit in units:
            self._put(_Entry(unit, now_ns, channel))
        self.keep_to_limit(now_ns)

    def rewire(self, wire: Wire) -> None:
        """Messages look like this from here on."""
        self.close_batch()
        self.wire = wire
        self._set_direct(not (wire.batched or self.has_waiting or self.is_pressed))

    def catch_up(self, channel: Channel[Any], mark: Mark) -> None:
        """The client changed channels with something still due to it: bring it up to date soon."""
        self._marks.setdefault(channel, mark)
        self._set_direct(False)

    def forget(self, name: str) -> None:
        """Nothing more of a topic: it was given up. What is queued stands before the answer."""
        for channel in [one for one in self._marks if one.topic.name == name]:
            del self._marks[channel]
        for key in [one for one in self._gaps if one[0].topic.name == name]:
            del self._gaps[key]
        self.on_slow.pop(name, None)

    def moved(self, old: Channel[Any], new: Channel[Any]) -> None:
        """The client is on another channel of the same topic now: marks go with it."""
        mark = self._marks.pop(old, None)
        if mark is not None:
            behind = old.updates - mark.updates
            there = mark if mark is _RESYNC else Mark(new.updates - behind, mark.epoch)
            self._marks[new] = there
        for key in [one for one in self._gaps if one[0] is old]:
            self._gaps[new, key[1]] = self._gaps.pop(key)

    def _set_direct(self, is_direct: bool) -> None:
        if is_direct is not self.is_direct:
            self.is_direct = is_direct
            self.reroute()

    def _put(self, entry: _Entry) -> None:
        assert entry.unit is not None, "only what is made already is put"
        self._queue.append(entry)
        self._queued_bytes += len(entry.unit.data)
        self._set_direct(False)

    # ------------------------------------------------------------------ pressure

    def press(self, now_ns: int, buffered_bytes: int) -> None:
        """The socket is behind: from here on only what must not be lost is kept."""
        if self.is_pressed:
            return
        self.is_pressed = True
        self._set_direct(False)
        self.close_batch()
        self.flush()
        self._notice("conflating", now_ns, buffered_bytes)

    def keep_to_limit(self, now_ns: int) -> None:
        """What is too much or too old goes, or the connection does; time alone can pass a limit."""
        while self._is_over(now_ns):
            index = next((i for i, one in enumerate(self._queue) if one.channel is not None), None)
            if index is None:
                self.is_overrun = self._queued_bytes >= self.limit_bytes
                return
            channel = self._queue[index].channel
            assert channel is not None, "chosen for having one"
            if self.on_slow.get(channel.topic.name, "close") == "close":
                self.is_overrun = True
                return
            if channel.topic.is_delta:
                self._drop_all_of(channel)
                self._marks[channel] = _RESYNC
            else:
                self._drop(index)

    def _is_over(self, now_ns: int) -> bool:
        if self._queued_bytes >= self.limit_bytes:
            return True
        if self._given or not self._queue:
            return False  # it is reading what it asked for
        oldest_ns = max(self._queue[0].at_ns, self._given_done_ns)
        return oldest_ns > 0 and now_ns - oldest_ns >= self.limit_age_ns

    def _drop(self, index: int) -> None:
        entry = self._queue[index]
        del self._queue[index]
        unit, channel = entry.unit, entry.channel
        assert unit is not None and channel is not None, "only channels' units are dropped"  # noqa: PT018
        self._queued_bytes -= len(unit.data)
        if not unit.last:
            return
        self.dropped_messages += unit.last - unit.first + 1
        first, _ = self._gaps.get((channel, unit.epoch), (unit.first, 0))
        self._gaps[channel, unit.epoch] = (first, unit.last)

    def _drop_all_of(self, channel: Channel[Any]) -> None:
        kept: list[_Entry] = []
        for entry in self._queue:
            if entry.channel is channel and entry.unit is not None:
                self._queued_bytes -= len(entry.unit.data)
                self.dropped_messages += 1
            else:
                kept.append(entry)
        self._queue = kept

    def _notice(self, state: Any, now_ns: int, buffered_bytes: int) -> None:
        if self.wire.events:
            message = ConnectionStatus(
                state=state,
                reason="slow_client",
                buffered=buffered_bytes,
                timestamp=rfc3339(now_ns),
            )
            self.write(self.wire.frame(encode(message, self.wire.codec)))

    # ------------------------------------------------------------------ out

    def flush(self) -> None:
        """Write everything pending, at once, and clear it."""
        pending = self.pending
        if pending:
            blob = pending[0] if len(pending) == 1 else b"".join(pending)
            pending.clear()
            self.write(blob)

    def close_batch(self) -> None:
        """What was collected for a batch goes out as one frame."""
        if self.batch:
            self.pending.append(batch_frame(self.batch, self.wire))
            self.batch.clear()

    def helping(
        self, source: Source, now_ns: int, buffered: Callable[[], int] = lambda: 0
    ) -> bytes:
        """The next bytes for the socket, and no more than a helping; empty when nothing waits.

        Afterwards the client is direct again if that was everything.
        """
        payloads, self.batch = self.batch, []  # whatever waits came after it
        size = sum(map(len, payloads))
        for (channel, epoch), (first, last) in self._gaps.items():
            if self.wire.events:
                payloads.append(self._gap(channel, epoch, first, last, now_ns))
        self._gaps.clear()
        while self._queue and size < HELPING_BYTES and len(payloads) < HELPING_MESSAGES:
            entry = self._queue.pop(0)
            if entry.given is not None:
                made = self._make(entry.given, source, HELPING_MESSAGES - len(payloads), now_ns)
            else:
                assert entry.unit is not None, "an entry is a unit or messages to make"
                payload = entry.unit.data
                self._queued_bytes -= len(payload)
                made = [_Framed(payload) if entry.unit.is_frame else payload]
            payloads += made
            size += sum(map(len, made))
        if not self._queue:
            while self._marks and size < HELPING_BYTES and len(payloads) < HELPING_MESSAGES:
                channel, mark = self._marks.popitem()
                if mark is _RESYNC:
                    made = source.rebuilt(channel, self)
                else:
                    made = source.latest(channel, mark, self)
                payloads += made
                size += sum(map(len, made))
        blob = self._framed(payloads)
        if not self.has_waiting:
            if self.is_pressed:
                self.is_pressed = False
                blob = self._with_resumed(blob, now_ns, buffered())
            self._set_direct(not self.wire.batched)
        return blob

    def _make(self, given: Given, source: Source, count: int, now_ns: int) -> list[bytes]:
        """The next messages of a run; the rest of it stays first in the queue."""
        kepts = given.kepts
        made = [source.show(kept, given, self.wire) for kept in kepts[:count]]
        if len(kepts) > count:
            self._queue.insert(0, _Entry(None, given=replace(given, kepts=kepts[count:])))
        else:
            self._given -= 1
            if not self._given:
                self._given_done_ns = now_ns
        return [payload for payload in made if payload]

    def _with_resumed(self, blob: bytes, now_ns: int, buffered_bytes: int) -> bytes:
        if not self.wire.events:
            return blob
        message = ConnectionStatus(
            state="resumed",
            reason="slow_client",
            buffered=buffered_bytes,
            timestamp=rfc3339(now_ns),
        )
        return blob + self.wire.frame(encode(message, self.wire.codec))

    def _framed(self, payloads: list[bytes]) -> bytes:
        frames: list[bytes] = []
        together: list[bytes] = []
        for payload in payloads:
            if not isinstance(payload, _Framed):
                together.append(payload)
                if self.wire.batched:
                    continue
            if together:
                frames.append(batch_frame(together, self.wire))
                together = []
            if isinstance(payload, _Framed):
                frames.append(payload)
        if together:
            frames.append(batch_frame(together, self.wire))
        return b"".join(frames)

    def _gap(self, channel: Channel[Any], epoch: int, first: int, last: int, now_ns: int) -> bytes:
        message = Gap(
            topic=channel.topic.name,
            epoch=epoch_text(epoch),
            from_seq=first,
            to_seq=last,
            count=last - first + 1,
            reason="slow_client",
            timestamp=rfc3339(now_ns),
        )
        return encode(message, self.wire.codec)


class _Framed(bytes):
    """Bytes that are frames already."""


def batch_frame(payloads: Sequence[bytes], wire: Wire) -> bytes:
    """Encoded messages as one frame: an array, or the message itself where there is one."""
    if len(payloads) == 1:
        return wire.frame(payloads[0])
    return wire.frame(array_of(payloads, binary=wire.is_binary), always_deflate=True)
