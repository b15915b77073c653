"""One list of the last trades serves every gap; what it does not reach is lost at once."""

from __future__ import annotations

from typing import cast

import pytest

from bus.config import FeedSettings
from bus.feeds.binance import trades
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import TradeEvent
from bus.feeds.budget import Priority
from bus.feeds.errors import ParseError, RestError
from bus.feeds.listing import Listed
from bus.feeds.rest import Reply, RestClient
from bus.feeds.trade_repair import OutOfReach
from tests.feeds.binance import binance_server
from tests.feeds.tap import Statuses, Tap, make_feed

TRADES, PRICE = "md/trades/sim/BTC-USDT/", "md/price/sim/BTC-USDT/"


class Venue:
    """Answers with the last trades of ``ids``."""

    def __init__(self, *ids: int, body: bytes | None = None) -> None:
        self.asked: list[tuple[str, dict[str, str | int], int, int]] = []
        self._body = binance_server.trades(ids)[2] if body is None else body

    async def get(
        self, path: str, params: dict[str, str | int], *, weight: int, priority: int
    ) -> Reply:
        self.asked.append((path, params, weight, priority))
        return Reply(self._body, 7)

    def as_rest(self) -> RestClient:
        return cast(RestClient, self)


def seen(*ids: int) -> tuple[Tap, InstrumentFeed]:
    tap = Tap()
    one = InstrumentFeed(
        make_feed(tap, Statuses(), FeedSettings()), Listed("BTC-USDT", "BTCUSDT"), lambda: None
    )
    for trade_id in ids:
        one.on_trade(TradeEvent(float(trade_id), 1.0, trade_id, 1, True), 5)
    return tap, one


def ids_of(tap: Tap) -> list[int]:
    return [trade.trade_id for trade in tap.bodies(TRADES)]


async def test_every_gap_is_filled_from_one_call_and_the_price_stays() -> None:
    tap, one = seen(10, 14, 16)
    venue = Venue(*range(1, 19))
    assert await trades.fetch(venue.as_rest(), one, 11, 13) == ""
    assert ids_of(tap) == [10, 14, 16, 11, 12, 13, 15], "17 and 18 are the stream's to tell"
    late = tap.bodies(TRADES)[3]
    assert (late.price, late.size, late.aggressor_side) == (11.0, 1.0, "buy")
    assert [price.price for price in tap.bodies(PRICE)] == [10.0, 14.0, 16.0]
    assert one.trades.sequence.missing == ()
    assert venue.asked == [
        ("/api/v3/trades", {"symbol": "BTCUSDT", "limit": 1_000}, 25, Priority.TRADES)
    ]


async def test_a_trade_that_comes_by_the_stream_after_it_was_fetched_is_a_repeat() -> None:
    tap, one = seen(10, 14)
    await trades.fetch(Venue(*range(1, 19)).as_rest(), one, 11, 13)
    for trade_id in (12, 13, 15, 16):
        one.on_trade(TradeEvent(1.0, 1.0, trade_id, 1, True), 8)
    assert ids_of(tap) == [10, 14, 11, 12, 13, 15, 16]


async def test_ids_that_the_list_leaves_out_are_no_trades() -> None:
    _, one = seen(10, 14)
    assert await trades.fetch(Venue(10, 12, 14).as_rest(), one, 11, 13) == ""
    assert one.trades.losses().skipped == 2
    assert one.trades.losses().lost == 0


async def test_a_list_that_is_not_up_to_date_proves_nothing_about_what_follows_it() -> None:
    tap, one = seen(10, 14)
    why = await trades.fetch(Venue(9, 10, 11).as_rest(), one, 11, 13)
    assert why == "the venue does not show them yet"
    assert ids_of(tap) == [10, 14, 11]
    assert one.trades.sequence.missing == ((12, 13),)


async def test_what_lies_before_the_list_is_out_of_reach_and_the_rest_is_told() -> None:
    tap, one = seen(10, 14)
    with pytest.raises(OutOfReach, match="its last 1000 trades only") as caught:
        await trades.fetch(Venue(13, 14, 15).as_rest(), one, 11, 13)
    assert caught.value.last_id == 12
    assert ids_of(tap) == [10, 14, 13]
    assert one.trades.sequence.missing == ((11, 12),)


async def test_an_empty_list_is_no_evidence() -> None:
    _, one = seen(10, 14)
    assert await trades.fetch(Venue().as_rest(), one, 11, 13) == "the venue tells no trades"
    assert one.trades.sequence.missing == ((11, 13),)


async def test_a_list_that_cannot_be_read_is_the_callers_business() -> None:
    _, one = seen(10, 14)
    with pytest.raises(ParseError):
        await trades.fetch(Venue(body=b'[{"id":"x"}]').as_rest(), one, 11, 13)


async def test_a_call_that_fails_is_the_callers_business() -> None:
    class Broken(Venue):
        async def get(
            self, path: str, params: dict[str, str | int], *, weight: int, priority: int
        ) -> Reply:
            raise RestError("venue", "no", status=503)

    _, one = seen(10, 14)
    with pytest.raises(RestError):
        await trades.fetch(Broken().as_rest(), one, 11, 13)


def test_no_book_that_is_wrong_waits_for_trades() -> None:
    assert Priority.RESYNC < Priority.START < Priority.REFRESH < Priority.TRADES
