"""One bus batch to many clients: decode once, encode once, frame once, write once per client.

The simple way is a send per client and message; a send costs 5–10 µs whatever it carries, so 100
clients at 10,000 messages/s would need ten cores. Here a message is encoded once per form, becomes
one shared WebSocket frame per wire, the frames of a batch are joined once per *crowd* (the clients
that several channels have in common), and each client is written to once per batch. At low load a
batch is one message and nothing waits; at high load batches grow and the cost of a delivered frame
falls below a microsecond. Here is what a batch means for the channels; how its bytes come to the
clients is :mod:`bus.wsbridge.handout`.

No socket and no clock of its own. Lossless order and exact snapshots follow from one rule: within a
batch no client joins or leaves a channel; topics that turned warm in it are reported after the
batch is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic

from bus.client.deliveries import Delivery, GapFound, Message, SnapshotEnded
from bus.errors import WireError
from bus.model import Status
from bus.runtime import get_logger
from bus.wire.codec import decode_frame
from bus.wsbridge.channels import Channel
from bus.wsbridge.faults import Faults, is_told
from bus.wsbridge.handout import ClientT, Handout
from bus.wsbridge.lag import LagGauge
from bus.wsbridge.lines import BookStep, Line
from bus.wsbridge.market import Market
from bus.wsbridge.rendering import Rendering
from bus.wsbridge.subscriptions import Subscriptions

STATUS_PREFIX = b"sys/status/"
LAG_INTERVAL_NS = 15_000_000_000

_log = get_logger("wsbridge.fanout")


class Fanout(Generic[ClientT]):
    """See the module. ``on_warm`` is called after each batch for every topic that turned warm,
    ``on_feed`` for every feed whose state changed; ``concerned`` tells before the batch is written
    who will be told something because of them."""

    def __init__(
        self,
        market: Market,
        subscriptions: Subscriptions[ClientT],
        on_warm: Callable[[bytes], None],
        on_feed: Callable[[str], None] = lambda _: None,
        concerned: Callable[[Iterable[bytes], Iterable[str]], Iterable[ClientT]] = lambda *_: (),
        *,
        with_checksum: bool = False,
    ) -> None:
        self._market = market
        self._by_key: dict[bytes, list[Channel[ClientT]]] = subscriptions.by_bus_key
        self._on_warm = on_warm
        self._on_feed = on_feed
        self._concerned = concerned
        self._dirty: dict[Channel[ClientT], None] = {}
        self.rendering = Rendering(market, with_checksum=with_checksum)
        self.lag = LagGauge(LAG_INTERVAL_NS)
        self._now_ns = 0
        self._first_published_ns = 0
        self._published_count = 0
        self.faults = Faults()
        self.out: Handout[ClientT] = Handout(market, self.rendering, self._by_key, self.faults)
        self.frames_made = 0
        self.gaps = 0
        self.malformed = 0
        self.duplicates = 0

    # ------------------------------------------------------------------ in

    def batch(self, deliveries: list[Delivery], now_ns: int) -> None:
        """Take the deliveries of one bus batch, in order, and write what follows from them."""
        self._now_ns = now_ns
        lines = self._market.lines
        dirty = self._dirty
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
        if warmed or feeds:
            for client in self._concerned(warmed, feeds):
                self.out.gather(client)
        self.write(now_ns)
        if self._published_count:
            self.lag.add(now_ns - self._first_published_ns, self._published_count)
            self._published_count = 0
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
            if not line.is_state:
                seq = message.seq
                self._gap(GapFound(line.key, message.epoch, seq, seq, "undecodable"), dirty)
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
            line.note_gap(gap.epoch, gap.to_seq)
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

    def put(self, channel: Channel[ClientT], payload: bytes) -> None:
        """Something that is no market data for all clients of a channel, after what is there
        already; it goes with the batch, or with :meth:`write`."""
        channel.units.append(self.rendering.unit(channel, payload, is_word=True))
        self._dirty[channel] = None

    def write(self, now_ns: int) -> None:
        """Write what was put on channels."""
        dirty, self._dirty = self._dirty, {}
        self.out.write(dirty, now_ns)
