"""Frames for tests, by the real codec."""

from __future__ import annotations

from bus.clock import NS_PER_SECOND
from bus.model import Depth, News, Price, Topic, Trade
from bus.wire.codec import encode_frame

EPOCH = 1_760_000_000_000
TRADES = Topic.md("trades", "sim", "BTC-USDT")
PRICE = Topic.md("price", "sim", "BTC-USDT")
DEPTH = Topic.md("depth", "sim", "BTC-USDT")
NEWS = Topic.md("news", "sim", "crypto")
BEGAN_NS = EPOCH * 1_000_000


def trade(seq: int, *, epoch: int = EPOCH, topic: Topic = TRADES, at_s: float = 0) -> bytes:
    """A trade, published ``at_s`` seconds after the beginning."""
    at_ns = BEGAN_NS + int(at_s * NS_PER_SECOND)
    return encode_frame(topic.key, epoch, seq, None, at_ns, at_ns, Trade(100.0 + seq, 1.0))


def price(seq: int, *, epoch: int = EPOCH, topic: Topic = PRICE) -> bytes:
    """A price; its value is its seq."""
    return encode_frame(topic.key, epoch, seq, None, BEGAN_NS, BEGAN_NS, Price(float(seq)))


def depth(seq: int, *, whole: bool = False, epoch: int = EPOCH, topic: Topic = DEPTH) -> bytes:
    """A depth message, a whole book or a change."""
    body = Depth(seq, seq, [(100.0, 1.0)], [(101.0, 2.0)], whole)
    return encode_frame(topic.key, epoch, seq, None, BEGAN_NS, BEGAN_NS, body)


def news(seq: int, *, epoch: int = EPOCH) -> bytes:
    """A news item."""
    body = News(str(seq), "headline", None, None, None, None, "crypto", [])
    return encode_frame(NEWS.key, epoch, seq, None, BEGAN_NS, BEGAN_NS, body)
