"""One bus batch to many clients: decode once, encode once, frame once, write once per client.

The simple way is a send per client and message; a send costs 5–10 µs whatever it carries, so 100
clients at 10,000 messages/s would need ten cores. Here a message is encoded once per form, becomes
one shared WebSocket frame per wire, the frames of a batch are joined once per *crowd* (the clients
that several channels have in common), and each client is written to once per batch. At low load a
batch is one message and nothing waits; at high load batches grow and the cost of a delivered frame
falls below a microsecond.

Pure but for the clients' ``flush``: no socket, no clock of its own. Lossless order and exact
snapshots follow from one rule: within a batch no client joins or leaves a channel; topics that
turned warm in it are reported after the flush. Conflated channels and batches have their times in
one schedule; :meth:`Fanout.run_due` is called when :attr:`Fanout.next_ns` has come.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import methodcaller
from typing import Any, Generic, Protocol, TypeVar

from bus.client.deliveries import Delivery, GapFound, Message, SnapshotEnded
from bus.errors import WireError
from bus.model import Status
from bus.runtime import get_logger
from bus.wire.codec import decode_frame
from bus.wsbridge.channels import Channel, Mark, Unit, by_crowd
from bus.wsbridge.faults import Abortable, Faults, is_told
from bus.wsbridge.lag import LagGauge
from bus.wsbridge.lines import BookStep, Line
from bus.wsbridge.market import Market
from bus.wsbridge.rendering import Rendering
from bus.wsbridge.schedule import Schedule
from bus.wsbridge.style import Wire
from bus.wsbridge.subscriptions import Subscriptions

STATUS_PREFIX = b"sys/status/"
LAG_INTERVAL_NS = 15_000_000_000
_NS_PER_MS = 1_000_000
_FLUSH = methodcaller("flush")

_log = get_logger("wsbridge.fanout")


class Client(Abortable, Protocol):
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

    def write(self, blob: bytes) -> None:
        """Write whole frames at once; only while nothing is pending."""

    def close_batch(self) -> None:
        """Make one frame of the batch, pending."""

    def hold(self, channel: Channel[Any], units: list[Unit], mark: Mark, now_ns: int) -> None:
        """Units for a client that is not direct."""

    def catch_up(self, channel: Channel[Any], mark: Mark) -> None:
        """Bring it up to date on a channel soon."""

    def moved(self, old: Channel[Any], new: Channel[Any]) -> None:
        """It is on another channel of the same topic."""


ClientT = TypeVar("ClientT", bound=Client)


class Fanout(Generic[ClientT]):
    """See the module. ``on_warm`` is called after each batch for every topic that turned warm,
    ``on_feed`` for every feed whose state changed."""

    def __init__(
        self,
        market: Market,
        subscriptions: Subscriptions[ClientT],
        on_warm: Callable[[bytes], None],
        on_feed: Callable[[str], None] = lambda _: None,
        *,
        with_checksum: bool = False,
    ) -> None:
        self._market = market
        self._by_key: dict[bytes, list[Channel[ClientT]]] = subscriptions.by_bus_key
        self._on_warm = on_warm
        self._on_feed = on_feed
        self.rendering = Rendering(market, with_checksum=with_checksum)
        self.lag = LagGauge(LAG_INTERVAL_NS)
        self._due: Schedule[Channel[ClientT]] = Schedule()
        self._batches: Schedule[ClientT] = Schedule()
        self._now_ns = 0
        self._first_published_ns = 0
        self._published_count = 0
        self.faults = Faults()
        self.frames_made = 0
        self.messages_out = 0
        self.gaps = 0
        self.malformed = 0
        self.duplicates = 0

    # ------------------------------------------------------------------ in

    def batch(self, deliveries: list[Delivery], now_ns: int) -> None:
        """Take the deliveries of one bus batch, in order, and write what follows from them."""
        self._now_ns = now_ns
        lines = self._market.lines
        dirty: dict[Channel[ClientT], None] = {}
        warmed: list[bytes] = []
        feeds: dict[str, None] = {}
        for delivery in deliveries:
            if type(delivery) is Message:
                line = lines.get(delivery.topic)
                if line is not None:
                    self._message(line, delivery, dirty)
                elif delivery.topic.startswith(STATUS_PREFIX):
                    self._status(delivery, feeds)
            elif type(delivery) is SnapshotEnded:
                line = lines.get(delivery.prefix)
                if line is not None and not line.warm:
                    line.warm = True
                    warmed.append(delivery.prefix)
            elif type(delivery) is GapFound:
                self._gap(delivery, dirty)
        self._write_out(dirty)
        for key in warmed:
            self._on_warm(key)
        for feed in feeds:
            self._on_feed(feed)

    def _message(self, line: Line, message: Message, dirty: dict[Channel[ClientT], None]) -> None:
        new_epoch = line.epoch != 0 and message.epoch != line.epoch
        if not line.accept(message.epoch, message.seq, message.frame):
            self.duplicates += 1
            return
        line.heard_ns = self._now_ns
        channels = self._by_key.get(message.topic)
        is_live = channels is not None and line.warm
        if not is_live and not line.is_delta:
            return
        kept = line.last
        assert kept is not None, "just accepted"
        step = None
        try:
            tick = kept.decode()
            if line.is_delta:
                step = line.take_depth(tick)
        except WireError as error:
            line.discard_last()
            self._malformed(message, error)
            return
        if channels is None or not line.warm or step is BookStep.LOST:
            return
        if not self._published_count:
            self._first_published_ns = tick.pub_ts_ns
        self._published_count += 1
        self.frames_made += self.rendering.add(channels, line, tick, step, new_epoch=new_epoch)
        for channel in channels:
            dirty[channel] = None

    def _gap(self, gap: GapFound, dirty: dict[Channel[ClientT], None]) -> None:
        self.gaps += 1
        line = self._market.lines.get(gap.topic)
        if line is not None:
            line.note_gap()
            channels = self._by_key.get(gap.topic, ()) if line.warm else ()
            for channel in channels:
                if self.rendering.add_gap(channel, gap, self._now_ns):
                    dirty[channel] = None
        if not is_told(self.gaps):
            return
        _log.warning(
            "messages lost on the bus",
            topic=gap.topic.decode(),
            from_seq=gap.from_seq,
            to_seq=gap.to_seq,
            reason=gap.reason,
            so_far=self.gaps,
        )

    def _status(self, message: Message, feeds: dict[str, None]) -> None:
        try:
            tick = decode_frame(message.frame)
        except WireError as error:
            self._malformed(message, error)
            return
        body = tick.body
        assert isinstance(body, Status), "the codec checks the body of a status topic"
        before = self._market.feed(tick.topic.venue)
        if self._market.accept_status(tick, self._now_ns) and not tick.topic.symbol:
            feed = tick.topic.venue
            after = self._market.feed(feed)
            if before is None or after is None or before.state != after.state:
                feeds[feed] = None
                _log.info("feed status", feed=feed, state=body.state, reason=body.reason)

    def _malformed(self, message: Message, error: WireError) -> None:
        self.malformed += 1
        if is_told(self.malformed):
            topic = message.topic.decode()
            _log.warning("malformed message", topic=topic, error=str(error), so_far=self.malformed)

    # ------------------------------------------------------------------ out

    @property
    def next_ns(self) -> int | None:
        """When :meth:`run_due` has something to do; ``None`` while it has nothing."""
        times = [at_ns for at_ns in (self._due.next_ns, self._batches.next_ns) if at_ns is not None]
        return min(times, default=None)

    def run_due(self, now_ns: int) -> None:
        """Flush the conflated channels and the batches whose time has come."""
        self._now_ns = now_ns
        due = [channel for channel in self._due.take_due(now_ns) if channel.clients]
        touched: dict[ClientT, None] = {}
        for channel in due:
            self._flush_conflated(channel, touched)
        shared: dict[tuple[Wire, tuple[int, ...]], bytes] = {}
        for client in self._batches.take_due(now_ns):
            self._close_batch(client, shared)
            touched[client] = None
        self.faults.each(touched, _FLUSH)

    def send(self, channel: Channel[ClientT], payload: bytes) -> None:
        """Something that is no market data for all clients of a channel."""
        channel.units.append(self.rendering.unit(channel, payload))
        self._write_out({channel: None})

    def _write_out(self, dirty: dict[Channel[ClientT], None]) -> None:
        touched: dict[ClientT, None] = {}
        shared: list[Channel[ClientT]] = []
        for channel in dirty:
            if channel.conflate_ns:
                self._conflate(channel, touched)
            if channel.units:
                if channel.wire.batched:
                    self._hand_out(channel, touched)
                else:
                    shared.append(channel)
        crowds = by_crowd(shared)
        is_all = not touched and len(crowds) == 1
        for crowd, channels in crowds.items():
            self._hand_to_crowd(crowd, channels, touched, is_all=is_all)
        self.faults.each(touched, _FLUSH)
        if self._published_count:
            self.lag.add(self._now_ns - self._first_published_ns, self._published_count)
            self._published_count = 0

    def _hand_to_crowd(
        self,
        crowd: frozenset[ClientT],
        channels: list[Channel[ClientT]],
        touched: dict[ClientT, None],
        *,
        is_all: bool,
    ) -> None:
        """The units of channels with the same clients; ``is_all``: nobody has any others."""
        taken = [(channel, channel.units) for channel in channels]
        for channel in channels:
            channel.units = []
        frames = [unit.data for _, units in taken for unit in units]
        self.messages_out += len(frames) * len(crowd)
        blob = frames[0] if len(frames) == 1 else b"".join(frames)
        for client in crowd:
            if not client.is_direct:
                for channel, units in taken:
                    self._offer(client, channel, units, None, touched)
            elif is_all and not client.pending:
                try:
                    client.write(blob)  # what is written once needs not be collected first
                except Exception as error:  # noqa: BLE001  (the boundary between clients)
                    self.faults.cut_off(client, error)
            else:
                client.pending.append(blob)
                touched[client] = None

    def _conflate(self, channel: Channel[ClientT], touched: dict[ClientT, None]) -> None:
        """Flush a conflated channel if its interval is over, else see that it will be."""
        wait_ns = channel.open_ns - self._now_ns
        if wait_ns <= 0 or wait_ns > channel.conflate_ns or self.rendering.is_full(channel):
            self._due.discard(channel)
            self._flush_conflated(channel, touched)
        else:
            self._due.add(channel, channel.open_ns)

    def _flush_conflated(self, channel: Channel[ClientT], touched: dict[ClientT, None]) -> None:
        line = self._market.lines.get(channel.topic.bus_key)
        if line is None or not channel.has_pending:
            return
        channel.open_ns = self._now_ns + channel.conflate_ns
        mark = Mark(channel.sent_updates, channel.epoch)
        special = self.rendering.close(channel, line)
        newcomers, channel.newcomers = channel.newcomers, {}
        for client, known in newcomers.items():
            units = special(known)
            if units:
                self._offer(client, channel, units, Mark(known, channel.epoch), touched)
        self._hand_out(channel, touched, skip=newcomers, mark=mark)

    def _hand_out(
        self,
        channel: Channel[ClientT],
        touched: dict[ClientT, None],
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
                self._offer(client, channel, units, mark, touched)
            return
        blob = units[0].data if len(units) == 1 else b"".join([unit.data for unit in units])
        for client in clients:
            if client.is_direct:
                client.pending.append(blob)
            else:
                self._offer(client, channel, units, mark, touched)
        touched.update(clients)

    def _offer(
        self,
        client: ClientT,
        channel: Channel[ClientT],
        units: list[Unit],
        mark: Mark | None,
        touched: dict[ClientT, None],
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
        touched[client] = None

    def _close_batch(
        self, client: ClientT, shared: dict[tuple[Wire, tuple[int, ...]], bytes]
    ) -> None:
        """One frame for a batch; clients with the same messages share it."""
        if not client.batch:
            return
        key = (client.wire, tuple(map(id, client.batch)))
        frame = shared.get(key)
        if frame is None:
            client.close_batch()
            shared[key] = client.pending[-1]
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
            units = self.rendering.waiting_units(channel, known, client.wire)
            if units:
                touched: dict[ClientT, None] = {}
                self._offer(client, channel, units, None, touched)
            return 0
        return channel.updates - channel.newcomers.get(client, channel.sent_updates)

    def moved(
        self, client: ClientT, old: Channel[ClientT], new: Channel[ClientT], behind: int
    ) -> None:
        """``client`` has gone from ``old`` to ``new`` with ``behind`` updates still due to it."""
        client.moved(old, new)
        if behind:
            client.catch_up(new, Mark(new.updates - behind, new.epoch))

    def forget(self, client: ClientT) -> None:
        """The client is gone."""
        self._batches.discard(client)
