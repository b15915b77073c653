"""What one client has not been sent yet, and what becomes of it when the client reads slowly.

Pure but for :meth:`Outbox.write`, which the shell supplies. A client is *direct* while nothing of
its own waits: shared frames go straight to its socket. It is not while

* an answer it asked for (a thousand past trades) is still being made, a helping a loop turn;
* its socket is behind: then it is *pressed*. Messages of state topics are not kept for it, only a
  mark per topic; the value is taken from the last-value cache when the socket drains. Lossless
  messages queue, as references to the shared frames. At the limit the oldest subscription that is
  in the way decides: the connection is closed, or its oldest messages are dropped and announced.
  (What queued of a state topic, behind an answer, becomes a mark there);
* it asked for batches (``batch_ms``).

Bounds, by construction: the socket's buffer (``pressure_bytes`` and one turn's writes), a batch,
the queue (``limit_bytes`` and one turn's), one mark a topic, and one answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from bus.wsbridge.channels import RESYNC, Channel, Mark, Unit
from bus.wsbridge.helping import Helping, batch_frame
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
from bus.wsbridge.runs import Hole, Run, Runs, rebased
from bus.wsbridge.steps import Given
from bus.wsbridge.style import OnSlow, Wire

MAX_BATCH_MESSAGES: Final = 1_000
"""More of them do not wait for the end of their ``batch_ms``."""


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
        "_given", "_given_done_ns", "_marks", "_runs", "batch", "direct_bytes", "is_direct",
        "is_overrun", "is_pressed", "limit_age_ns", "limit_bytes", "on_slow", "pending",
        "pressure_bytes", "wire",
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
        self.on_slow: dict[str, OnSlow] = {}
        self._runs = Runs()
        self._given = 0
        self._given_done_ns = 0
        self._marks: dict[Channel[Any], Mark] = {}

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
        return bool(self._runs.queue or self._marks)

    @property
    def has_answer_waiting(self) -> bool:
        """Whether an answer is still being made: the next request waits for it."""
        return self._given > 0

    @property
    def queued_bytes(self) -> int:
        """Bytes of messages that wait here."""
        return self._runs.size_bytes

    @property
    def dropped_messages(self) -> int:
        """Messages that this client has not been sent because it was too slow for them."""
        return self._runs.dropped_messages

    def tell(self, message: Control, now_ns: int = 0) -> None:
        """A message for this client alone, after everything before it."""
        self.notify(Notice(message), now_ns)

    def notify(self, notice: Notice, now_ns: int = 0) -> None:
        """A message for this client and others, after everything before it."""
        told = notice.on(self.wire)
        if self._runs.queue or self._marks:
            self._put(Run((Unit(told.payload),), now_ns))
            return
        self.close_batch()
        self.pending.append(told.frame)

    def give(self, given: Given) -> None:
        """Messages that are made when their turn comes."""
        self.close_batch()
        self._put(Run((), given=given))
        self._given += 1

    def hold(self, channel: Channel[Any], units: Sequence[Unit], mark: Mark, now_ns: int) -> None:
        """Units of a channel for a client that is not direct; it was at ``mark`` before them.

        They are kept as they are: ``units`` must not change any more.
        """
        if not (self.is_pressed or self._runs.queue or self._marks):
            self.batch += [unit.data for unit in units]  # nothing is behind: it only batches
            if len(self.batch) >= MAX_BATCH_MESSAGES:
                self.close_batch()
            return
        is_spared = channel.topic.is_state and self.is_pressed
        if is_spared or channel in self._marks:  # it will be brought up to date, with these
            if self._runs.put_words(units, now_ns):
                self._set_direct(False)
            if is_spared and any(unit.last for unit in units):
                self._marks.setdefault(channel, mark)
            return
        self._put(Run(units, now_ns, channel, mark))
        if self._is_over(now_ns):
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

    def shown(self, channel: Channel[Any]) -> None:
        """The client is given the present value anyway, after what waits: older ones are spared."""
        self._marks.pop(channel, None)

    def forget(self, name: str) -> None:
        """Nothing more of a topic: it was given up. What is queued stands before the answer."""
        for channel in [one for one in self._marks if one.topic.name == name]:
            del self._marks[channel]
        self._runs.forget(name)
        self.on_slow.pop(name, None)

    def moved(self, old: Channel[Any], new: Channel[Any]) -> None:
        """The client is on another channel of the same topic now: what waits of the old one counts
        as the new one's."""
        mark = self._marks.pop(old, None)
        if mark is not None:
            self._marks[new] = rebased(mark, old, new)
        self._runs.moved(old, new)

    def _set_direct(self, is_direct: bool) -> None:
        if is_direct is not self.is_direct:
            self.is_direct = is_direct
            self.reroute()

    def _put(self, run: Run) -> None:
        self._runs.put(run)
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
        runs = self._runs
        while self._is_over(now_ns):
            index = runs.oldest_of_a_channel()
            if index is None:
                self.is_overrun = runs.size_bytes >= self.limit_bytes
                return
            channel, mark = runs.queue[index].channel, runs.queue[index].mark
            assert channel is not None, "chosen for having one"
            if channel.topic.is_state:  # it was queued behind an answer; its last value will do
                runs.drop_all_of(channel)
                self._marks[channel] = mark
            elif self.on_slow.get(channel.topic.name, "close") == "close":
                self.is_overrun = True
                return
            elif channel.topic.is_delta:
                runs.drop_all_of(channel)
                self._marks[channel] = RESYNC
            else:
                runs.drop_from(index, runs.size_bytes - self.limit_bytes)

    def _is_over(self, now_ns: int) -> bool:
        if self._runs.size_bytes >= self.limit_bytes:
            return True
        if self._given:
            return False  # it is reading what it asked for
        oldest_ns = self._runs.oldest_ns
        return oldest_ns > 0 and now_ns - max(oldest_ns, self._given_done_ns) >= self.limit_age_ns

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
        helping = Helping(self.wire)
        helping.add(self.batch)  # whatever waits came after it
        self.batch = []
        runs = self._runs
        while runs.queue and helping.room:
            run = runs.queue[0]
            if run.given is not None:
                helping.add(self._make(run.given, source, helping.room, now_ns))
            elif run.hole is not None:
                runs.take_hole(run.hole)
                if self.wire.events:
                    helping.add([self._gap(run.hole, now_ns)])
            else:
                runs.cut(0, helping.add_units(run.units))
        if not runs.queue:
            while self._marks and helping.room:
                channel, mark = self._marks.popitem()
                is_anew = mark is RESYNC
                helping.add(
                    source.rebuilt(channel, self) if is_anew else source.latest(channel, mark, self)
                )
        blob = helping.blob()
        if not self.has_waiting:
            if self.is_pressed:
                self.is_pressed = False
                blob = self._with_resumed(blob, now_ns, buffered())
            self._set_direct(not self.wire.batched)
        return blob

    def _make(self, given: Given, source: Source, count: int, now_ns: int) -> list[bytes]:
        """The next messages of what is first in the queue, where the rest of it stays."""
        kepts = given.kepts
        made = [source.show(kept, given, self.wire) for kept in kepts[:count]]
        if len(kepts) > count:
            self._runs.queue[0] = Run((), given=replace(given, kepts=kepts[count:]))
        else:
            del self._runs.queue[0]
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

    def _gap(self, hole: Hole, now_ns: int) -> bytes:
        message = Gap(
            topic=hole.topic,
            epoch=epoch_text(hole.epoch),
            from_seq=hole.first,
            to_seq=hole.last,
            count=hole.last - hole.first + 1,
            reason="slow_client",
            timestamp=rfc3339(now_ns),
        )
        return encode(message, self.wire.codec)
