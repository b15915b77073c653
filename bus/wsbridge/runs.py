"""What waits for one client's socket, in order, and what is dropped of it at the limit. Pure.

A *run* is one thing that waits. Units of a channel may be dropped: those of a state topic and of a
book because the client is brought up to date instead, those of a lossless topic with a *hole* in
their place, which is told there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bus.wsbridge.channels import RESYNC, Channel, Mark, Unit
from bus.wsbridge.steps import Given


@dataclass(slots=True)
class Hole:
    """Messages of a lossless topic, of one epoch, that were dropped."""

    topic: str
    epoch: int
    first: int
    last: int


class Run(NamedTuple):
    """Units of a channel, and where their client was before them; or without a channel, and never
    dropped: messages of the client's own, messages to make, or a hole. Units are shared with
    everybody who gets them: a run is cut, not changed.
    """

    units: Sequence[Unit]
    at_ns: int = 0
    channel: Channel[Any] | None = None
    mark: Mark = RESYNC
    given: Given | None = None
    hole: Hole | None = None


class Runs:
    """See the module. Whoever puts something in sees to its limits."""

    __slots__ = ("_holes", "dropped_messages", "queue", "size_bytes")

    def __init__(self) -> None:
        self.queue: list[Run] = []  # a deque would be 760 bytes for everybody who is not slow
        self.size_bytes = 0
        self.dropped_messages = 0
        self._holes: dict[str, Hole] = {}  # of each topic the last one, while it waits

    def put(self, run: Run) -> None:
        """After everything else."""
        self.queue.append(run)
        self.size_bytes += size_of(run.units)

    def put_words(self, units: Sequence[Unit], at_ns: int) -> bool:
        """Of units that are spared the client: what no later value says; whether there is any."""
        words = [unit for unit in units if unit.is_word]
        if words:
            self.put(Run(words, at_ns))
        return bool(words)

    @property
    def oldest_ns(self) -> int:
        """Since when the oldest units of a channel have waited; 0 without any."""
        return next((run.at_ns for run in self.queue if run.channel is not None), 0)

    def oldest_of_a_channel(self) -> int | None:
        """The place of the first run that may be dropped."""
        return next((i for i, run in enumerate(self.queue) if run.channel is not None), None)

    def cut(self, index: int, count: int) -> None:
        """The first units of a run are in the queue no more."""
        run = self.queue[index]
        units = run.units
        if count == len(units):
            del self.queue[index]
        else:
            self.queue[index] = run._replace(units=units[count:])
            units = units[:count]
        self.size_bytes -= size_of(units)

    def take_hole(self, hole: Hole) -> None:
        """The hole that is first has had its turn."""
        del self.queue[0]
        if self._holes.get(hole.topic) is hole:
            del self._holes[hole.topic]

    # ------------------------------------------------------------------ what is dropped

    def drop_all_of(self, channel: Channel[Any]) -> None:
        """Everything of a channel that its client is brought up to date on instead."""
        queue, self.queue = self.queue, []
        for run in queue:
            if run.channel is not channel:
                self.queue.append(run)
                continue
            self.size_bytes -= size_of(run.units)
            self.dropped_messages += sum(1 for unit in run.units if unit.last)
            self.put_words(run.units, run.at_ns)

    def drop_from(self, index: int, excess_bytes: int) -> None:
        """The oldest units of a run of a lossless topic: as many as are too much, or all of them
        when no bytes are; in their place which messages are lost."""
        run = self.queue[index]
        units = run.units
        assert run.channel is not None, "only what is a channel's is dropped"
        count = len(units)
        if excess_bytes >= 0:
            freed_bytes = count = 0
            while count < len(units) and freed_bytes <= excess_bytes:
                freed_bytes += len(units[count].data)
                count += 1
        self.cut(index, count)
        instead: list[Run] = []
        for unit in units[:count]:
            if unit.is_word:
                instead.append(Run((unit,), run.at_ns))
                self.size_bytes += len(unit.data)
            elif unit.last and (hole := self._lose(run.channel.topic.name, unit)) is not None:
                instead.append(Run((), hole=hole))
        self.queue[index:index] = instead

    def _lose(self, name: str, unit: Unit) -> Hole | None:
        """The hole that a message of a topic begins; ``None``: one that waits has grown by it."""
        self.dropped_messages += unit.last - unit.first + 1
        hole = self._holes.get(name)
        if hole is not None and (hole.epoch, hole.last + 1) == (unit.epoch, unit.first):
            hole.last = unit.last
            return None
        self._holes[name] = Hole(name, unit.epoch, unit.first, unit.last)
        return self._holes[name]

    # ------------------------------------------------------------------ clients that move

    def moved(self, old: Channel[Any], new: Channel[Any]) -> None:
        """What there is of a channel counts as another's of the same topic."""
        if any(run.channel is old for run in self.queue):
            self.queue = [
                run._replace(channel=new, mark=rebased(run.mark, old, new))
                if run.channel is old
                else run
                for run in self.queue
            ]

    def forget(self, name: str) -> None:
        """A topic was given up: its holes are told, and grow no more."""
        self._holes.pop(name, None)


def rebased(mark: Mark, old: Channel[Any], new: Channel[Any]) -> Mark:
    """A mark on one channel as a mark on another that has got the same messages."""
    return mark if mark is RESYNC else Mark(new.updates - old.updates + mark.updates, mark.epoch)


def size_of(units: Sequence[Unit]) -> int:
    """Their bytes."""
    if len(units) == 1:  # as most are
        return len(units[0].data)
    return sum([len(unit.data) for unit in units])
