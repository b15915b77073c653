"""A connection's bookkeeping without a socket; how it behaves on one: test_venue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from bus.clock import monotonic_ns
from bus.config import FeedSettings
from bus.feeds import skew
from bus.feeds.binance.connection import Connection
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.session import Lost, Session
from bus.model import Trade
from tests.feeds.tap import Statuses, Tap, make_feed

BTC, ETH = Listed("BTC-USDT", "BTCUSDT"), Listed("ETH-USDT", "ETHUSDT")
TRADE = b'{"stream":"btcusdt@trade","data":{"t":1,"p":"5","q":"1","T":1,"m":true}}'


@dataclass
class QuietLink:
    last_frame_mono_ns: int


@dataclass
class QuietSession:
    name: str = "test"
    link: Link | None = None
    rotations: int = 0

    def rotate(self) -> None:
        self.rotations += 1


def connection() -> tuple[Tap, Statuses, Connection]:
    tap, statuses = Tap(), Statuses()
    feed = make_feed(tap, statuses, FeedSettings(symbols=("BTC-USDT", "ETH-USDT")))
    return tap, statuses, Connection(feed, [BTC, ETH])


def link() -> Link:
    return cast(Link, QuietLink(monotonic_ns()))


def test_a_batch_is_routed_and_its_market_data_counted() -> None:
    tap, _, one = connection()
    acknowledged = b'{"result":null,"id":1}'
    assert one.frames(link(), [acknowledged, TRADE, b"garbage", TRADE], 77) == 2
    trades = [m for m in tap.messages if isinstance(m.body, Trade)]
    assert [(m.topic, m.recv_ts_ns) for m in trades] == [("md/trades/sim/BTC-USDT/", 77)]


def test_an_acknowledgement_is_no_data() -> None:
    _, _, one = connection()
    assert one.frames(link(), [b'{"result":null,"id":1}'], 77) == 0
    assert not one.facts.was_live


def test_a_refusal_that_time_does_not_cure_is_down_at_once() -> None:
    _, statuses, one = connection()
    session = cast(Session, QuietSession())
    one.lost(session, Lost("closed", "closed with code 1006", 0.3, 0))
    assert statuses.last("BTC-USDT").state == "connecting"
    one.lost(session, Lost("limited", "HTTP 418", 120.0, 0))
    assert statuses.last("BTC-USDT").state == "down"
    assert statuses.last("ETH-USDT").detail == "HTTP 418"


def test_a_symbol_the_venue_renamed_is_refused_late() -> None:
    _, _, one = connection()
    one.list_as(Listed("BTC-USDT", "XBTUSDT"))
    assert one.verdict("BTC-USDT").state == "down"
    one.list_as(Listed("ETH-USDT", "ETHUSDT", False))
    assert one.instruments["ETH-USDT"].facts.market_closed


def test_events_that_come_late_are_stale_and_bring_a_new_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(skew, "LATE_FOR_NS", 0)
    _, statuses, one = connection()
    quiet = QuietSession(link=link())
    session = cast(Session, quiet)
    one.facts.open = True
    for number, delay_ns in enumerate((0, 6_000_000_000, 6_500_000_000)):
        trade = TRADE.replace(b'"t":1', b'"t":%d' % (number + 1))
        one.frames(link(), [trade], 1_000_000 + delay_ns)
        one.check(session)
        late = delay_ns > 0
        assert (statuses.last("BTC-USDT").reason == "late") == late
    status = statuses.last("BTC-USDT")
    assert (status.state, status.detail) == ("stale", "events come more than 5 s late")
    assert quiet.rotations == 1
    assert one.lateness.worst_ns == 6_500_000_000  # as it is, never clamped
    one.frames(link(), [TRADE.replace(b'"t":1', b'"t":9')], 1_000_000)
    one.check(session)
    assert statuses.last("BTC-USDT").reason != "late"
