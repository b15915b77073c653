"""From what channels have for their clients to bytes on the clients' sockets, once per turn.

Units of channels with the same clients are joined once for all of them; what one client gets of
several crowds is joined for it, and written by its ``flush``; to whom gets nothing else, and that
is everybody at low rates, the bytes go in one loop over the sockets of the crowd
(:mod:`bus.wsbridge.crowds`). Who is told something of his own (an answer, a feed's new state)
*gathers*: until the end of the loop's turn whatever comes for him is collected, in order, and
written once. Conflated channels and batches have their times in one schedule:
:meth:`Handout.run_due` is called when :attr:`Handout.next_ns` has come, and what is due when
something else is written goes with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from typing import Any, Final, Generic, Protocol, TypeVar

from bus.wsbridge.channels import Channel, Mark, Unit
from bus.wsbridge.crowds import Crowd, Routed, by_crowd, in_several
from bus.wsbridge.direct_write import write_to_all
from bus.wsbridge.faults import Abortable, Faults
from bus.wsbridge.market import Market
from bus.wsbridge.rendering import Rendering
from bus.wsbridge.schedule import Schedule
from bus.wsbridge.style import Wire

MOST_FRAMES: Final = 64
MOST_BYTES: Final = 65_536
"""Whoever has gathered more does not wait for the end of the turn."""
_NS_PER_MS = 1_000_000
_FLUSH = methodcaller("flush")


class Client(Abortable, Routed, Protocol):
    """Whoever receives shared frames."""

    pending: list[bytes]
    """Joined frames of this batch, to be written by :meth:`flush`."""
    batch: list[bytes]
    """Encoded messages of this batch interval."""
    batch_ms: int
    is_direct: bool
    """Whether frames may go to ``pending``; else they are offered to :meth:`hold`."""
    wire: Wire

    def flush(self) -> None:
        """Write everything pending, at once, and clear it."""

    def write_rest(self, blob: bytes, taken: int) -> None:
        """``blob`` was written where :meth:`route` said, which took its first ``taken`` bytes."""

    def close_batch(self) -> None:
        """Make one frame of the batch, pending."""

    def hold(self, channel: Channel[Any], units: list[Unit], mark: Mark, now_ns: int) -> None:
        """Units for a client that is not direct."""

    def catch_up(self, channel: Channel[Any], mark: Mark) -> None:
        """Bring it up to date on a channel soon."""

    def moved(self, old: Channel[Any], new: Channel[Any]) -> None:
        """It is on another channel of the same topic."""

    def shown(self, channel: Channel[Any]) -> None:
        """It need not be brought up to date on a channel."""


ClientT = TypeVar("ClientT", bound=Client)


class _Turn(Generic[ClientT]):
    """What one batch has for clients: whom to flush (``touched``), who gets several things and has
    them collected first (``collecting``), and the channels whose units every client of theirs gets
    (``shared``), with where a client was before (None: that many messages before its last).
    ``lays_out``: to whom gets one thing it goes past everything."""

    __slots__ = ("collecting", "lays_out", "shared", "touched")

    def __init__(self) -> None:
        self.lays_out = False
        self.touched: dict[ClientT, None] = {}
        self.collecting: frozenset[ClientT] = frozenset()
        self.shared: dict[Channel[ClientT], Mark | None] = {}


class Handout(Generic[ClientT]):
    """See the module. ``by_key`` has the channels that clients are on."""

    def __init__(
        self,
        market: Market,
        rendering: Rendering,
        by_key: Mapping[bytes, list[Channel[ClientT]]],
        faults: Faults,
    ) -> None:
        self._market = market
        self._rendering = rendering
        self._by_key = by_key
        self._faults = faults
        self._due: Schedule[Channel[ClientT]] = Schedule()
        self._batches: Schedule[ClientT] = Schedule()
        self._now_ns = 0
        self._layout = self._known_layout = 0
        self._gathering: dict[ClientT, None] = {}
        self.call_soon: Callable[[Callable[[], None]], object] | None = None
        """Of the event loop: calls what it is given at the end of this turn. Without one there are
        no turns, and everything is written at once."""
        self.direct_bytes = 0
        self.messages_out = 0

    @property
    def next_ns(self) -> int | None:
        """When :meth:`run_due` has something to do; ``None`` while it has nothing."""
        channels_ns, batches_ns = self._due.next_ns, self._batches.next_ns
        if channels_ns is None or batches_ns is None:
            return batches_ns if channels_ns is None else channels_ns
        return min(channels_ns, batches_ns)

    def run_due(self, now_ns: int) -> None:
        """Flush the conflated channels and the batches whose time has come."""
        self.write((), now_ns)

    def write(self, dirty: Iterable[Channel[ClientT]], now_ns: int) -> None:
        """Write the units of ``dirty`` to their clients, with whatever else is due."""
        self._now_ns = now_ns
        turn: _Turn[ClientT] = _Turn()
        due_ns = self.next_ns
        if due_ns is not None and due_ns <= now_ns:
            self._collect_due(turn)
        for channel in dirty:
            if channel.conflate_ns:
                self._conflate(channel, turn)
            if channel.units:
                if channel.wire.batched:
                    self._hand_out(channel, turn)
                else:
                    turn.shared.setdefault(channel)
        touched = turn.touched
        if turn.shared:
            crowds = by_crowd(turn.shared)
            is_calm = self._layout == self._known_layout
            self._known_layout = self._layout
            is_one = len(crowds) == 1 or len({one.topic.name for one in turn.shared}) == 1
            # While routes change all the time, as when a crowd comes back, laying out several
            # crowds anew at each message costs more than is spared.
            turn.lays_out = is_calm or is_one
            if touched or self._gathering or len(crowds) > 1:
                turn.collecting = frozenset([*touched, *self._gathering, *in_several(crowds)])
            for crowd, channels in crowds.items():
                self._hand_to_crowd(crowd, channels, turn)
        if touched:
            for client in touched.keys() & self._gathering.keys():
                del touched[client]
            self._faults.each(touched, _FLUSH)

    # ------------------------------------------------------------------ clients that gather

    def gather(self, client: ClientT) -> None:
        """More comes for ``client`` in this turn: collect it."""
        if self.call_soon is not None:
            if not self._gathering:
                self.call_soon(self.end_turn)
            self._gathering[client] = None

    def flush_soon(self, client: ClientT) -> None:
        """Write what is pending at the end of this turn, with what comes by then; or at once, when
        that is much."""
        self.gather(client)
        if client not in self._gathering or _is_much(client.pending):
            client.flush()

    def end_turn(self) -> None:
        """Write what has been gathered."""
        gathered, self._gathering = self._gathering, {}
        self._faults.each(gathered, _FLUSH)

    # ------------------------------------------------------------------ inside

    def _collect_due(self, turn: _Turn[ClientT]) -> None:
        due = [channel for channel in self._due.take_due(self._now_ns) if channel.clients]
        for channel in due:
            self._flush_conflated(channel, turn)
        frames: dict[tuple[Wire, tuple[int, ...]], bytes] = {}
        for client in self._batches.take_due(self._now_ns):
            self._close_batch(client, frames)
            turn.touched[client] = None

    def _hand_to_crowd(
        self, crowd: Crowd[ClientT], channels: list[Channel[ClientT]], turn: _Turn[ClientT]
    ) -> None:
        """The units of channels with the same clients: past everything to who gets nothing else."""
        taken = [(channel, channel.units) for channel in channels]
        for channel in channels:
            channel.units = []
        frames = [unit.data for _, units in taken for unit in units]
        self.messages_out += len(frames) * len(crowd)
        blob = frames[0] if len(frames) == 1 else b"".join(frames)
        clients: Iterable[ClientT] = crowd
        collecting = turn.collecting
        if collecting:
            collecting = crowd & collecting
        if turn.lays_out and 2 * len(collecting) <= len(crowd):
            crowd.lay_out(self._layout)
            clients = crowd.others
            if collecting:
                clients = collecting.union(clients)
            self._write_to_crowd(crowd, blob, collecting)
        for client in clients:
            if client.is_direct:
                client.pending.append(blob)
                turn.touched[client] = None
            else:
                for channel, units in taken:
                    self._offer(client, channel, units, turn.shared[channel], turn)

    def _write_to_crowd(
        self, crowd: Crowd[ClientT], blob: bytes, collecting: frozenset[ClientT]
    ) -> None:
        """Write to everybody who can be written to, but for those who are ``collecting``; the rest
        of it is left to those who lag."""
        fds, size = crowd.fds, len(blob)
        if collecting:
            apart = {client.route() for client in collecting}
            fds = array("i", [fd for fd in fds if fd not in apart])
            for client in collecting:
                if client.route() >= 0:
                    client.direct_bytes -= size  # its own write counts them
        short = write_to_all(fds, blob)
        crowd.written(size)
        self.direct_bytes += size * len(fds)
        if short:
            by_fd = dict(zip(crowd.fds, crowd.direct, strict=True))
            for fd, taken in short:
                client = by_fd[fd]
                try:
                    client.write_rest(blob, taken)
                except Exception as error:  # noqa: BLE001  (the boundary between clients)
                    self._faults.cut_off(client, error)

    def _conflate(self, channel: Channel[ClientT], turn: _Turn[ClientT]) -> None:
        """Flush a conflated channel if its interval is over, else see that it will be."""
        wait_ns = channel.open_ns - self._now_ns
        if wait_ns <= 0 or wait_ns > channel.conflate_ns or self._rendering.is_full(channel):
            self._due.discard(channel)
            self._flush_conflated(channel, turn)
        else:
            self._due.add(channel, channel.open_ns)

    def _flush_conflated(self, channel: Channel[ClientT], turn: _Turn[ClientT]) -> None:
        line = self._market.lines.get(channel.topic.bus_key)
        if line is None or not channel.has_pending:
            return
        channel.open_ns = self._now_ns + channel.conflate_ns
        mark = Mark(channel.sent_updates, channel.epoch)
        special = self._rendering.close(channel, line)
        newcomers, channel.newcomers = channel.newcomers, {}
        for client, known in newcomers.items():
            units = special(known)
            if units:
                self._offer(client, channel, units, Mark(known, channel.epoch), turn)
        if newcomers or channel.wire.batched:
            self._hand_out(channel, turn, skip=newcomers, mark=mark)
        elif channel.units:
            turn.shared[channel] = mark

    def _hand_out(
        self,
        channel: Channel[ClientT],
        turn: _Turn[ClientT],
        skip: dict[ClientT, int] | None = None,
        mark: Mark | None = None,
    ) -> None:
        """The units of a channel to its clients."""
        units, channel.units = channel.units, []
        if not units:
            return
        clients = channel.clients
        if skip:
            clients = {client: None for client in clients if client not in skip}
        self.messages_out += len(units) * len(clients)
        if channel.wire.batched:
            for client in clients:
                self._offer(client, channel, units, mark, turn)
            return
        blob = units[0].data if len(units) == 1 else b"".join([unit.data for unit in units])
        for client in clients:
            if client.is_direct:
                client.pending.append(blob)
            else:
                self._offer(client, channel, units, mark, turn)
        turn.touched.update(clients)

    def _offer(
        self,
        client: ClientT,
        channel: Channel[ClientT],
        units: list[Unit],
        mark: Mark | None,
        turn: _Turn[ClientT],
    ) -> None:
        if client.is_direct:
            client.pending += [unit.data for unit in units]
        else:
            if mark is None:
                mark = Mark(channel.updates - sum(1 for unit in units if unit.last), channel.epoch)
            client.hold(channel, units, mark, self._now_ns)
            if client.batch and client not in self._batches:
                period_ns = client.batch_ms * _NS_PER_MS
                self._batches.add(client, (self._now_ns // period_ns + 1) * period_ns)
        turn.touched[client] = None

    def _close_batch(
        self, client: ClientT, frames: dict[tuple[Wire, tuple[int, ...]], bytes]
    ) -> None:
        """One frame for a batch; clients with the same messages share it."""
        if not client.batch:
            return
        key = (client.wire, tuple(map(id, client.batch)))
        frame = frames.get(key)
        if frame is None:
            client.close_batch()
            frames[key] = client.pending[-1]
        else:
            client.pending.append(frame)
            client.batch.clear()

    # ------------------------------------------------------------------ clients that move

    def leaving(self, client: ClientT, channel: Channel[ClientT]) -> int:
        """Updates of a conflated channel that ``client`` has not been sent; before it leaves."""
        if not channel.conflate_ns or not channel.has_pending:
            return 0
        if channel.waiting:
            known = channel.newcomers.get(client, 0)
            units = self._rendering.waiting_units(channel, known, client.wire)
            if units:
                self._offer(client, channel, units, None, _Turn())
            return 0
        return channel.updates - channel.newcomers.get(client, channel.sent_updates)

    def moved(
        self, client: ClientT, old: Channel[ClientT], new: Channel[ClientT], behind: int
    ) -> None:
        """``client`` has gone from ``old`` to ``new`` with ``behind`` updates still due to it."""
        client.moved(old, new)
        if behind:
            client.catch_up(new, Mark(new.updates - behind, new.epoch))

    def shown(self, client: ClientT, channel: Channel[ClientT]) -> None:
        """``client`` has been given the present value of a channel it is on."""
        if channel.conflate_ns:
            channel.newcomers[client] = channel.updates
        client.shown(channel)

    def rerouted(self) -> None:
        """Some client's :meth:`Client.route` has changed."""
        self._layout += 1

    def count_bytes(self) -> None:
        """Bring every client's ``direct_bytes`` up to date."""
        for channels in self._by_key.values():
            for channel in channels:
                if channel.crowd is not None:
                    channel.crowd.count()

    def forget(self, client: ClientT) -> None:
        """The client is gone."""
        self._batches.discard(client)
        self._gathering.pop(client, None)


def _is_much(pending: list[bytes]) -> bool:
    return len(pending) >= MOST_FRAMES or sum(map(len, pending)) >= MOST_BYTES
