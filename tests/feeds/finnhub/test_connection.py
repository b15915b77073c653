"""Frames to ticks, repeats dropped, complaints kept; how it behaves on a socket: test_venue."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

from bus.clock import monotonic_ns
from bus.config import FeedSettings
from bus.feeds.feed import Feed
from bus.feeds.finnhub.connection import Connection
from bus.feeds.finnhub.news import NewsDesk
from bus.feeds.finnhub.symbols import Instrument
from bus.feeds.link import Link
from bus.feeds.session import Lost, Session
from tests.feeds.tap import Statuses, Tap, make_feed


@dataclass
class QuietLink:
    last_frame_mono_ns: int


def connection() -> tuple[Tap, Statuses, Feed, Connection]:
    tap, statuses = Tap(), Statuses()
    settings = FeedSettings(symbols=("AAPL", "MSFT"), news_categories=("general", "crypto"))
    feed = make_feed(tap, statuses, settings, name="finnhub")
    instruments = [Instrument("AAPL", "AAPL"), Instrument("MSFT", "MSFT")]
    return tap, statuses, feed, Connection(feed, instruments, NewsDesk(tap.as_publisher(), "sim"))


def link() -> Link:
    return cast(Link, QuietLink(monotonic_ns()))


def trades(*items: dict[str, Any]) -> bytes:
    return json.dumps({"type": "trade", "data": list(items)}).encode()


AAPL = {"s": "AAPL", "p": 129.58, "t": 1, "v": 4, "c": ["1"]}


def test_a_whole_frame_repeated_is_dropped_and_equal_trades_inside_are_kept() -> None:
    tap, _, feed, one = connection()
    frame = trades(AAPL, AAPL)
    assert one.frames(link(), [frame, frame, frame], 9) == 3
    assert len(tap.bodies("md/trades/sim/AAPL/")) == 2
    assert feed.counters.duplicates == 2


def test_mixed_symbols_and_strangers() -> None:
    tap, _, feed, one = connection()
    one.frames(link(), [trades(AAPL, {**AAPL, "s": "MSFT", "v": 0}, {**AAPL, "s": "TSLA"})], 9)
    assert len(tap.bodies("md/trades/sim/AAPL/")) == 1
    assert tap.bodies("md/trades/sim/MSFT/") == []
    assert len(tap.bodies("md/price/sim/MSFT/")) == 1
    assert feed.counters.unknown == 1


def test_news_goes_to_a_category_asked_for_or_to_company() -> None:
    tap, _, _, one = connection()
    items = [
        {"id": number, "datetime": 1, "headline": "x", "category": category}
        for number, category in enumerate(["company", "crypto", "technology"])
    ]
    one.frames(link(), [json.dumps({"type": "news", "data": items}).encode()], 9)
    assert [m.topic for m in tap.messages] == [
        "md/news/sim/company/",
        "md/news/sim/crypto/",
        "md/news/sim/company/",
    ]


def test_a_ping_shows_that_the_venue_serves() -> None:
    _, _, _, one = connection()
    assert one.frames(link(), [b'{"type":"ping"}'], 9) == 1
    assert one.facts.was_live


def test_a_complaint_is_kept_and_no_sign_of_data() -> None:
    _, _, _, one = connection()
    assert one.complaint() == ""
    assert one.frames(link(), [b'{"type":"error","msg":"Subscribing to too many symbols"}'], 9) == 0
    assert one.complaint() == "Subscribing to too many symbols"


def test_bad_frames_and_unknown_types_are_counted() -> None:
    _, _, feed, one = connection()
    one.frames(link(), [b"garbage", b'{"type":"pr"}', trades(AAPL, {"s": "AAPL"})], 9)
    assert (feed.counters.malformed, feed.counters.unknown) == (2, 1)
    assert feed.counters.messages_in == 3


def test_a_refused_key_is_down_with_words_that_help() -> None:
    _, statuses, _, one = connection()
    one.lost(cast(Session, None), Lost("unauthorized", "HTTP 401", 300.0, 0))
    status = statuses.last("AAPL")
    assert (status.state, status.reason) == ("down", "unauthorized")
    assert "FINNHUB_API_KEY" in (status.detail or "")


def test_a_closed_market_explains_silence() -> None:
    _, _, _, one = connection()
    one.facts.open = True
    one.market_closed(True)
    assert one.verdict("AAPL").state == "closed"
    one.market_closed(False)
    assert one.verdict("AAPL").state == "connecting"
