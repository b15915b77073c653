"""A whole bus without I/O, for tests: the real cache and answers, and a wire that loses things.

One publisher, one broker, one consumer. Messages wait in :attr:`ModelBus.pipe` until
:meth:`deliver`; what the consumer asks for waits in its own queue until :meth:`turn`, in order, as
on one ZeroMQ pipe.
"""

from __future__ import annotations

from collections import deque

from bus.broker.answers import Answers
from bus.broker.last_value_cache import LastValueCache
from bus.client import (
    EpochChanged,
    GapFound,
    Inbox,
    InboxLimits,
    Message,
    SnapshotEnded,
    Subscribe,
)
from bus.client.deliveries import Delivery
from bus.config.broker import BrokerSettings
from bus.model import STREAMS, StreamKind, Topic
from tests.broker.frames import EPOCH, depth, news, price, trade

MS = 1_000_000


class ModelBus:
    """See the module. ``settings`` are the broker's; small rings make refusals common."""

    def __init__(self, settings: BrokerSettings, limits: InboxLimits | None = None) -> None:
        self.settings = settings
        self.now_ns = 0
        self.epoch = EPOCH
        self.seqs: dict[Topic, int] = {}
        self.last: dict[Topic, bytes] = {}
        self.published: dict[tuple[bytes, int, int], bytes] = {}
        self.pipe: deque[bytes] = deque()
        self.uplink: deque[bytes] = deque()
        self.subscribed: set[bytes] = set()
        self.losing = 0
        ids = iter(range(1, 1_000_000))
        self.inbox = Inbox(limits, new_id=lambda: b"id%d" % next(ids))
        self.deliveries: list[Delivery] = []
        self.start_broker()

    # --- publisher and broker -------------------------------------------------------------------

    def start_broker(self) -> None:
        """A new broker, with nothing in its cache but what the publisher sends again."""
        self.cache = LastValueCache(self.settings)
        self.answers = Answers(self.cache, rate=1_000_000)
        for topic, frame in self.last.items():
            if STREAMS[topic.stream].kind is StreamKind.STATE:
                self.forward(frame)

    def publish(self, topic: Topic) -> None:
        """The next message of ``topic``; every tenth of a depth topic is a whole book."""
        seq = self.seqs[topic] = self.seqs.get(topic, 0) + 1
        make = {
            "trades": lambda: trade(seq, epoch=self.epoch, topic=topic),
            "price": lambda: price(seq, epoch=self.epoch, topic=topic),
            "depth": lambda: depth(seq, whole=seq % 10 == 1, epoch=self.epoch, topic=topic),
            "news": lambda: news(seq, epoch=self.epoch),
        }
        frame = make[topic.stream]()
        self.last[topic] = frame
        self.published[topic.key, self.epoch, seq] = frame
        self.forward(frame)

    def restart_publisher(self) -> None:
        """A new epoch; nothing is published yet."""
        self.epoch += 1_000
        self.seqs.clear()
        self.last.clear()

    def forward(self, frame: bytes) -> None:
        """What the proxy does: to the cache, and to the consumer if it is subscribed."""
        self.cache.store([frame])
        self.send(frame)

    def send(self, frame: bytes) -> None:
        if any(frame.startswith(key) for key in self.subscribed):
            if self.losing:
                self.losing -= 1
            else:
                self.pipe.append(frame)

    def turn(self) -> None:
        """The broker takes what the consumer asked for, in order, and answers."""
        while self.uplink:
            message = self.uplink.popleft()
            if message[0]:
                self.subscribed.add(message[1:])
            else:
                self.subscribed.discard(message[1:])
            self.answers.on_subscription(message, 0, self.now_ns)
            for frame in self.answers.frames(0, 10_000_000, self.now_ns):
                self.send(frame)

    # --- consumer -------------------------------------------------------------------------------

    def deliver(self, count: int | None = None) -> None:
        """The consumer receives what waits, or its first ``count`` frames."""
        while self.pipe and count != 0:
            self.inbox.receive([self.pipe.popleft()], self.now_ns)
            self.settle()
            count = None if count is None else count - 1

    def settle(self) -> None:
        """Execute the inbox's commands and take its deliveries."""
        for command in self.inbox.take_commands():
            kind = b"\x01" if isinstance(command, Subscribe) else b"\x00"
            self.uplink.append(kind + command.key)
        self.deliveries += self.inbox.take_deliveries()

    def subscribe(self, prefix: str, *, snapshot: bool = True) -> None:
        self.inbox.subscribe(prefix, self.now_ns, snapshot=snapshot)
        self.settle()

    def unsubscribe(self, prefix: str) -> None:
        self.inbox.unsubscribe(prefix, self.now_ns)
        self.settle()

    def reconnect(self) -> None:
        """The connection breaks and comes back: what was on its way is lost, in both directions.

        ZeroMQ sends every subscription again, in the order of its trie.
        """
        self.pipe.clear()
        wanted = set(self.subscribed)
        for message in self.uplink:
            if message[0]:
                wanted.add(message[1:])
            else:
                wanted.discard(message[1:])
        self.subscribed = set()
        self.uplink = deque(b"\x01" + key for key in sorted(wanted))
        for key in wanted:  # the broker saw the old pipe end
            self.answers.on_subscription(b"\x00" + key, 0, self.now_ns)
        self.inbox.reconnected(self.now_ns)
        self.settle()

    def pass_time(self, ms: int) -> None:
        self.now_ns += ms * MS
        self.inbox.service(self.now_ns)
        self.settle()

    def quiesce(self) -> None:
        """Nothing is lost any more; let everything arrive and every question be settled."""
        self.losing = 0
        for _ in range(200):
            self.turn()
            self.deliver()
            if not self.inbox.waiting and not self.uplink and not self.pipe:
                return
            if not self.uplink and not self.pipe:
                self.pass_time(2_000)
        raise AssertionError("the inbox never came to rest")


def check_exactly_once_in_order(bus: ModelBus) -> None:
    """Every promise of the inbox about the deliveries made so far."""
    positions: dict[bytes, tuple[int, int]] = {}
    for delivery in bus.deliveries:
        if isinstance(delivery, SnapshotEnded):
            continue
        topic = delivery.topic
        lossless = topic.split(b"/")[1] in (b"trades", b"news", b"depth")
        before = positions.get(topic)
        if isinstance(delivery, Message):
            here = (delivery.epoch, delivery.seq)
            assert bus.published[topic, *here] == delivery.frame, "a frame nobody published"
            if before is not None:
                assert here > before, f"{delivery} is not newer than {before}"
                assert here[0] == before[0], "a new epoch must be announced"
                if lossless:
                    assert here[1] == before[1] + 1, f"a silent hole before {delivery}"
            positions[topic] = here
        elif isinstance(delivery, EpochChanged):
            assert before is not None
            assert delivery.old == before[0] < delivery.new
            positions[topic] = (delivery.new, 0)
        else:
            assert isinstance(delivery, GapFound)
            assert lossless, "state topics have no gaps"
            assert before == (delivery.epoch, delivery.from_seq - 1)
            assert delivery.from_seq <= delivery.to_seq
            positions[topic] = (delivery.epoch, delivery.to_seq)
