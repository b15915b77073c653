"""What the connection does with frames, without a socket."""

from __future__ import annotations

import json

from bus.config import FeedSettings
from bus.feeds.kraken.connection import Connection
from bus.feeds.kraken.listing import Pairs
from bus.feeds.kraken.symbols import guess
from bus.feeds.session import Lost
from bus.testing import eventually
from tests.feeds.coinbase.test_connection import Wire
from tests.feeds.kraken.test_parser import INSTRUMENT, STATUS, TRADE
from tests.feeds.tap import Statuses, Tap, make_feed

SNAPSHOT = b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":1.5,"qty":1.0}],"asks":[{"price":2.5,"qty":1.0}]}]}'  # noqa: E501
UPDATE = b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":1.4,"qty":1.0}],"asks":[]}]}'  # noqa: E501
QUOTE = b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":1.5,"bid_qty":1.0,"ask":2.5,"ask_qty":1.0}]}'  # noqa: E501


async def opened(*symbols: str) -> tuple[Connection, Wire, Tap, Statuses]:
    tap, statuses, wire = Tap(), Statuses(), Wire()
    feed = make_feed(tap, statuses, FeedSettings(), name="kraken")
    connection = Connection(feed, [guess(one) for one in symbols or ("BTC-USD",)], Pairs())
    connection.opening(wire.as_session())
    await connection.opened(wire.as_session(), wire.as_link(), False)
    return connection, wire, tap, statuses


def said(wire: Wire) -> list[tuple[str, str]]:
    messages = [json.loads(message) for message in wire.sent]
    return [(one["method"], one.get("params", {}).get("channel", "")) for one in messages]


async def test_the_pairs_are_asked_for_first_and_the_rest_follows() -> None:
    connection, wire, _, statuses = await opened()
    assert said(wire) == [("subscribe", "instrument")]
    connection.frames(wire.as_link(), [STATUS, INSTRUMENT], 5)
    await eventually(lambda: len(wire.sent) == 4)
    assert [channel for _, channel in said(wire)[1:]] == ["ticker", "trade", "book"]
    assert connection.frames(wire.as_link(), [SNAPSHOT], 5) == 1
    assert statuses.state("BTC-USD") == "live"


async def test_a_pair_that_is_not_listed_is_down() -> None:
    connection, wire, _, statuses = await opened("BTC-USD", "BTC-UDS")
    connection.frames(wire.as_link(), [INSTRUMENT], 5)
    status = statuses.last("BTC-UDS")
    assert (status.state, status.reason) == ("down", "unknown_symbol")
    assert status.detail == "the venue lists no BTC-UDS; nearest: BTC-USD"


async def test_bad_frames_are_counted_and_the_others_go_on() -> None:
    connection, wire, tap, _ = await opened()
    trade = TRADE.replace(b"MATIC", b"BTC")
    frames = [b"{", b'{"channel":"odd"}', TRADE, trade]
    connection.frames(wire.as_link(), [INSTRUMENT, *frames], 5)
    counters = connection._counters
    assert (counters.malformed, counters.unknown) == (1, 2)
    assert len(tap.bodies("md/trades/sim/BTC-USD/")) == 1


async def test_book_and_ticker_of_another_connection_are_not_taken() -> None:
    connection, wire, tap, _ = await opened()
    connection.frames(wire.as_link(), [INSTRUMENT, SNAPSHOT, QUOTE], 5)
    connection.frames(Wire().as_link(), [UPDATE, SNAPSHOT, QUOTE.replace(b"1.5", b"1.6")], 5)
    assert len(tap.bodies("md/depth/sim/BTC-USD/")) == 1
    assert len(tap.bodies("md/quote/sim/BTC-USD/")) == 1


async def test_the_engines_state_is_every_pairs_state() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [INSTRUMENT, SNAPSHOT], 5)
    connection.frames(wire.as_link(), [STATUS.replace(b"online", b"maintenance")], 5)
    status = statuses.last("BTC-USD")
    assert (status.state, status.reason) == ("closed", "maintenance")
    connection.frames(wire.as_link(), [STATUS], 5)
    assert statuses.state("BTC-USD") == "live"


async def test_new_decimals_bring_a_new_book() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [INSTRUMENT, SNAPSHOT], 5)
    await eventually(lambda: len(wire.sent) == 4)
    update = INSTRUMENT.replace(b'"snapshot"', b'"update"')
    connection.frames(wire.as_link(), [update], 5)
    assert statuses.state("BTC-USD") == "live"
    connection.frames(
        wire.as_link(), [update.replace(b'"price_precision":1', b'"price_precision":2')], 5
    )
    assert statuses.last("BTC-USD").reason == "precision"
    await eventually(lambda: said(wire)[4:] == [("unsubscribe", "book"), ("subscribe", "book")])


async def test_a_lost_connection_voids_the_book() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [INSTRUMENT, SNAPSHOT], 5)
    connection.lost(wire.as_session(), Lost("closed", "1006", 0.1, 0))
    assert statuses.states("BTC-USD") == ["connecting", "live", "recovering"]
