"""Small makers of ticks, topics and doubles for the bridge's tests."""

from __future__ import annotations

import sys
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bus.client.deliveries import Delivery, Message, SnapshotEnded
from bus.config import Settings, load
from bus.model import Body, News, OrderBook, Price, Quote, Status, Ticker, Trade
from bus.model.topic import Topic
from bus.wire.codec import encode_frame
from bus.wsbridge.bridge import Bridge
from bus.wsbridge.client import BridgeClient
from bus.wsbridge.frames import WINDOW_BITS
from bus.wsbridge.messages import CloseCode
from bus.wsbridge.profile import agreed
from bus.wsbridge.routes import Endpoint, EndpointKind, Options, endpoint_of, options_of
from bus.wsbridge.session import Session
from bus.wsbridge.steps import Authenticate, Step
from tests.wsbridge.schema import check_message

T0_NS = 1_769_596_200_000_000_000
"""2026-01-28T10:30:00Z"""
EPOCH = 1_769_596_199_000
SECOND_NS = 1_000_000_000

BODIES: dict[str, Body] = {
    "price": Price(50000.5, 250.3, 0.5, 1_000_000.0),
    "quote": Quote(50000.0, 1.2, 50001.0, 0.8, 77),
    "orderbook": OrderBook(123456, [(49990.0, 1.0), (49980.0, 2.0)], [(50010.0, 1.0)]),
    "trades": Trade(50000.0, 0.5, "buy", 991),
    "ticker": Ticker(50000.5, 49750.2, 50500.0, 49100.0, 250.3, 0.5, 12345.6),
    "news": News("n1", "Headline", None, "https://x.test", None, "Wire", "crypto", ["BTC"], T0_NS),
}


def settings_of(*overrides: str) -> Settings:
    """Default settings with overrides, in the embedded mode."""
    return load(None, overrides)


def frame_of(
    topic: Topic, seq: int, body: Body, *, epoch: int = EPOCH, at_ns: int = T0_NS
) -> bytes:
    """A bus frame whose three times are ``at_ns``."""
    return encode_frame(topic.key, epoch, seq, at_ns, at_ns, at_ns, body)


def live(
    stream: str,
    seq: int,
    *,
    symbol: str = "BTC-USDT",
    epoch: int = EPOCH,
    at_ns: int = T0_NS,
    body: Body | None = None,
) -> Message:
    """A live delivery of ``stream`` from the simulated venue."""
    topic = Topic.md(stream, "sim", symbol)
    frame = frame_of(topic, seq, body or BODIES[stream], epoch=epoch, at_ns=at_ns)
    return Message("live", topic.key, epoch, seq, frame)


def warm(stream: str, *, symbol: str = "BTC-USDT", count: int = 0) -> SnapshotEnded:
    """The end of the snapshot of one topic."""
    return SnapshotEnded(Topic.md(stream, "sim", symbol).key, count)


def status(feed: str, state: str, seq: int = 1, *, symbol: str = "", at_ns: int = T0_NS) -> Message:
    """A delivery of a feed's status topic."""
    topic = Topic.status(feed, symbol)
    body = Status(state, "test", at_ns)  # type: ignore[arg-type]
    return Message("live", topic.key, EPOCH, seq, frame_of(topic, seq, body, at_ns=at_ns))


@dataclass
class FakeBus:
    """The bus side of a bridge: it only notes what is wanted."""

    wanted: list[bytes] = field(default_factory=list)

    def subscribe(self, prefix: bytes) -> None:
        assert prefix not in self.wanted, "subscribed twice"
        self.wanted.append(prefix)

    def unsubscribe(self, prefix: bytes) -> None:
        self.wanted.remove(prefix)


@dataclass(eq=False)
class Nobody:
    """A client that is only told apart from others."""

    fd: int = -1
    direct_bytes: int = 0

    def route(self) -> int:
        return self.fd


class FakeClient(BridgeClient):
    """A client of a bridge, as parsed messages.

    It reads everything at once; with ``is_stuck`` its socket takes nothing, until :meth:`drain`.
    """

    def __init__(
        self, bridge: Bridge, url: str = "/ws/market-multi/", subprotocol: str | None = None
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self.session: Session = new_session(bridge, url, subprotocol)
        self.wire = self.session.profile.wire
        self.got: list[dict[str, Any]] = []
        self.frames: list[Any] = []
        self.writes = 0
        self.closed: CloseCode | None = None
        self.resumed = 0
        self.is_stuck = False
        self.unsent_bytes = 0
        self.is_faulty = self.is_aborted = False

    def write(self, blob: bytes) -> None:
        if self.is_faulty:
            raise RuntimeError("a fault of ours")
        self.writes += 1
        assert self.closed is None, "written to after close"
        if self.is_stuck:
            self.unsent_bytes += len(blob)
        for payload in split_frames(blob, is_binary=self.wire.is_binary):
            decoder = msgspec.msgpack if self.wire.is_binary else msgspec.json
            found: Any = decoder.decode(payload)
            self.frames.append(found)
            messages = found if isinstance(found, list) else [found]
            for message in messages:
                check_message(message)
            self.got += messages

    def go_on(self) -> None:
        while not self.is_stuck and (self.has_waiting or self.is_pressed):
            blob = self.helping(self._bridge.source, T0_NS)
            if blob:
                self.pending.append(blob)
                self.flush()

    def drain(self) -> list[dict[str, Any]]:
        """The socket takes everything; what came because of it."""
        self.is_stuck, self.unsent_bytes = False, 0
        self.got.clear()
        self.go_on()
        return self.take()

    def close(self, code: CloseCode, *, reason: str = "") -> None:
        self.closed = code

    def abort(self) -> None:
        """As a connection with a fault of ours; in a test that fault is the test's to see."""
        if not self.is_faulty:
            raise AssertionError("cut off for a fault") from sys.exc_info()[1]
        self.is_aborted = True

    def authenticate(self, step: Authenticate, now_ns: int) -> list[Step]:
        raise AssertionError("no test of the bridge shows a token")

    def resume(self) -> None:
        self.resumed += 1

    def take(self) -> list[dict[str, Any]]:
        """Everything received since the last call."""
        got, self.got = self.got, []
        return got

    def say(self, now_ns: int = T0_NS, **request: Any) -> list[dict[str, Any]]:
        """Send one request, and take what came."""
        codec = msgspec.msgpack if self.wire.is_binary else msgspec.json
        self._bridge.received(self, codec.encode(request), now_ns)
        return self.take()


def new_session(bridge: Bridge, url: str, subprotocol: str | None = None) -> Session:
    """A session for a URL path with an optional query."""
    path, _, query = url.partition("?")
    endpoint = endpoint_of(path) or Endpoint(EndpointKind.MULTI)
    options = options_of(query, endpoint, 20) if query else Options()
    return bridge.new_session(endpoint, options, profile=agreed(subprotocol, options))


def make_bridge(*overrides: str) -> tuple[Bridge, FakeBus]:
    """A bridge on a fake bus; a client's first heartbeat comes after a whole interval."""
    bus = FakeBus()
    bridge = Bridge(settings_of(*overrides), "bridge.1", bus, "0.0.0")
    bridge.heartbeats.first_share = lambda: 1.0
    bridge.start()
    return bridge, bus


def join(
    bridge: Bridge,
    url: str = "/ws/market-multi/",
    now_ns: int = T0_NS,
    subprotocol: str | None = None,
) -> FakeClient:
    """A client that has been opened; its greeting is not taken yet."""
    client = FakeClient(bridge, url, subprotocol)
    bridge.opened(client, now_ns)
    return client


def deliver(bridge: Bridge, *deliveries: Delivery, now_ns: int = T0_NS) -> None:
    """One bus batch."""
    bridge.batch(list(deliveries), now_ns)


def split_frames(blob: bytes, *, is_binary: bool = False) -> list[bytes]:
    """The payloads of unmasked, unfragmented data frames, inflated where they are compressed."""
    payloads: list[bytes] = []
    while blob:
        is_compressed = bool(blob[0] & 0x40)
        assert blob[0] & ~0x40 == (0x82 if is_binary else 0x81), "a final data frame"
        length, start = blob[1], 2
        if length == 126:
            length, start = int.from_bytes(blob[2:4]), 4
        elif length == 127:
            length, start = int.from_bytes(blob[2:10]), 10
        payload, blob = blob[start : start + length], blob[start + length :]
        if is_compressed:
            payload = zlib.decompressobj(-WINDOW_BITS).decompress(payload + b"\0\0\xff\xff")
        payloads.append(payload)
    return payloads


def types(messages: list[dict[str, Any]]) -> list[str]:
    """The ``type`` of each."""
    return [message["type"] for message in messages]


def seqs(messages: list[dict[str, Any]], topic: str = "price.BTC") -> list[int]:
    """The ``seq`` of each message of ``topic``."""
    return [message["seq"] for message in messages if message.get("topic") == topic]


def full(bridge: Bridge, url: str = "/ws/v1/", codec: str = "json") -> FakeClient:
    """A client of the full profile whose greeting is taken."""
    client = join(bridge, url, subprotocol=f"mdbus.v1.{codec}")
    assert types(client.take()) == ["connection"]
    return client


def multi(bridge: Bridge) -> FakeClient:
    """A client of the multi endpoint whose greeting is taken."""
    client = join(bridge)
    assert types(client.take()) == ["connection"]
    return client


BTC_PRICE = b"md/price/sim/BTC-USDT/"
WAIT_NS = 250_000_000
"""first_value_wait_ms."""
