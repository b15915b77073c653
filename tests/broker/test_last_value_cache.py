"""What the broker remembers, and what it does at each bound."""

from __future__ import annotations

import pytest

from bus.broker.last_value_cache import LastValueCache
from bus.config.broker import BrokerSettings
from bus.model import Topic, Trade
from bus.wire.codec import encode_frame
from bus.wire.requests import Gone
from tests.broker.frames import (
    BEGAN_NS,
    DEPTH,
    EPOCH,
    NEWS,
    PRICE,
    TRADES,
    depth,
    news,
    price,
    trade,
)

S = 1_000_000_000


def make(**settings: int | float) -> LastValueCache:
    return LastValueCache(BrokerSettings(**settings))  # type: ignore[arg-type]


def snapshot(cache: LastValueCache, prefix: str) -> list[bytes]:
    return [frame for part in cache.snapshot(prefix.encode()) for frame in part]


def test_each_class_of_stream_is_kept_in_its_own_way() -> None:
    cache = make()
    cache.store([price(1), price(2), trade(1), trade(2), depth(1, whole=True), depth(2), news(1)])
    assert snapshot(cache, PRICE.name) == [price(2)]
    assert snapshot(cache, TRADES.name) == [trade(1), trade(2)]
    assert snapshot(cache, DEPTH.name) == [depth(1, whole=True), depth(2)]
    assert snapshot(cache, NEWS.name) == [news(1)]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("md/", [price(1), trade(1)]),
        ("md/trades/", [trade(1)]),
        ("md/trades/sim/", [trade(1)]),
        (TRADES.name, [trade(1)]),
        ("md/trades/other/", []),
        ("sys/", [price(3, topic=Topic.status("binance"))]),
    ],
)
def test_a_snapshot_can_be_asked_for_at_every_level(prefix: str, expected: list[bytes]) -> None:
    cache = make()
    cache.store([price(1), trade(1), price(3, topic=Topic.status("binance"))])
    assert snapshot(cache, prefix) == expected


def test_a_symbol_that_begins_like_another_is_another() -> None:
    cache = make()
    usd = Topic.md("trades", "sim", "BTC-USD")
    cache.store([trade(1, topic=usd), trade(1)])
    assert snapshot(cache, usd.name) == [trade(1, topic=usd)]
    assert snapshot(cache, "md/trades/sim/BTC-USD") == []


def test_trades_and_news_have_rings_of_their_own_size() -> None:
    cache = make(trades_ring=3, news_ring=2)
    cache.store([frame for n in range(1, 9) for frame in (trade(n), news(n))])
    assert snapshot(cache, "md/trades/") == [trade(6), trade(7), trade(8)]
    assert snapshot(cache, "md/news/") == [news(7), news(8)]


def test_rings_are_cut_while_messages_pass_not_only_when_asked() -> None:
    cache = make(trades_ring=10)
    for begin in range(0, 40_000, 1_000):
        cache.store([trade(n) for n in range(begin + 1, begin + 1_001)])
    cache.sweep(BEGAN_NS)
    cache.sweep(BEGAN_NS)
    assert cache.stats().frames <= 20_000


def test_replay_of_an_unknown_topic_is_refused_with_nothing() -> None:
    assert make().replay(TRADES.key, EPOCH, 1) == Gone(0, 0)


def test_replay_is_exact_or_gone() -> None:
    cache = make(trades_ring=3)
    cache.store([trade(n) for n in range(1, 6)])
    assert cache.replay(TRADES.key, EPOCH, 3) == [trade(4), trade(5)]
    assert cache.replay(TRADES.key, EPOCH, 1) == Gone(EPOCH, 3)


def test_old_trades_are_swept() -> None:
    cache = make(trades_ring_age_s=300.0)
    cache.store([trade(1, at_s=0), trade(2, at_s=10), trade(3, at_s=400)])
    cache.sweep(BEGAN_NS + 400 * S)
    cache.sweep(BEGAN_NS + 400 * S)
    assert snapshot(cache, "md/trades/") == [trade(3, at_s=400)]
    assert cache.stats().expired == 2


def test_a_last_value_is_never_too_old() -> None:
    cache = make(trades_ring_age_s=1.0)
    cache.store([price(1), trade(1)])
    for _ in range(3):
        cache.sweep(BEGAN_NS + 10**6 * S)
    assert snapshot(cache, "md/") == [price(1), trade(1)]


def test_topics_beyond_the_bound_pass_uncached_and_are_counted() -> None:
    cache = make(max_topics=1)
    cache.store([price(1), trade(1), trade(2)])
    assert snapshot(cache, "md/") == [price(1)]
    assert cache.stats().refused == 2
    assert cache.stats().topics == 1


def large_trade(seq: int, size: int = 4_000) -> bytes:
    body = Trade(1.0, 1.0, None, "x" * size)
    return encode_frame(TRADES.key, EPOCH, seq, None, BEGAN_NS, BEGAN_NS, body)


def test_beyond_the_byte_bound_the_largest_rings_lose_their_oldest_half() -> None:
    cache = make(max_bytes=2**20)
    quiet = Topic.md("trades", "sim", "ETH-USDT")
    cache.store([large_trade(n) for n in range(1, 901)])
    cache.store([trade(n, topic=quiet) for n in range(1, 11)] + [price(1)])
    for _ in range(8):
        cache.sweep(BEGAN_NS)
    stats = cache.stats()
    assert stats.evicted > 0
    assert stats.bytes <= 2**20
    assert len(snapshot(cache, quiet.name)) == 10, "the small ring was not touched"
    assert snapshot(cache, PRICE.name) == [price(1)]


def test_last_values_stay_even_when_they_alone_exceed_the_bound() -> None:
    cache = make(max_bytes=2**20)
    cache.store([price(1), large_trade(1, 2**20)])
    for _ in range(4):
        cache.sweep(BEGAN_NS)
    assert snapshot(cache, "md/") == [price(1), large_trade(1, 2**20)]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0",
        b"no nul",
        b"md/trades/sim/BTC\0" + trade(1).partition(b"\0")[2],
        b"md/nothing/sim/BTC/\0" + trade(1).partition(b"\0")[2],
        b"\xff\xff/\0\x01",
        TRADES.key + b"\0",
        TRADES.key + b"\0junk",
    ],
)
def test_garbage_is_counted_and_not_cached(frame: bytes) -> None:
    cache = make()
    cache.store([frame])
    assert cache.stats().malformed == 1
    assert cache.stats().topics == 0
    cache.store([trade(1), frame, trade(2)])
    assert snapshot(cache, "md/") == [trade(1), trade(2)]
    assert cache.stats().malformed == 2


def test_a_replaced_publisher_is_counted() -> None:
    cache = make()
    cache.store([trade(1, epoch=EPOCH + 1), trade(7)])
    assert snapshot(cache, "md/") == [trade(1, epoch=EPOCH + 1)]
    assert cache.stats().outdated == 1


def test_a_depth_topic_without_a_start_is_counted_when_asked_for() -> None:
    cache = make()
    cache.store([depth(2)])
    assert snapshot(cache, "md/depth/") == []
    assert cache.stats().headless == 1


def test_the_probe_is_counted_apart() -> None:
    cache = LastValueCache(BrokerSettings(), probe=b"probe/x/")
    cache.store([b"probe/x/\0", trade(1)])
    assert cache.probes == 1
    stats = cache.stats()
    assert (stats.stored, stats.malformed) == (1, 0)


def test_topics_that_appear_while_a_snapshot_is_drawn_are_included() -> None:
    cache = make()
    cache.store([price(1)])
    drawing = cache.snapshot(b"md/")
    assert next(drawing) == [price(1)]
    cache.store([trade(1)])
    assert next(drawing) == [trade(1)]
