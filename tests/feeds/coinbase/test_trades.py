"""Missing trades by pages, against pages made by hand."""

from __future__ import annotations

import json
from typing import cast

import pytest

from bus.config import FeedSettings
from bus.feeds.coinbase import endpoints, trades
from bus.feeds.coinbase.instrument_feed import InstrumentFeed
from bus.feeds.errors import RestError
from bus.feeds.listing import Listed
from bus.feeds.rest import Reply, RestClient
from tests.feeds.coinbase.test_instrument_feed import match
from tests.feeds.tap import Statuses, Tap, make_feed


class Pages:
    """A venue that has some trades, and shows at most ``limit`` of them older than ``after``."""

    def __init__(self, *ids: int) -> None:
        self.ids = ids
        self.asked: list[dict[str, int]] = []

    async def get(self, path: str, params: dict[str, int]) -> Reply:
        assert path == "/products/BTC-USD/trades"
        self.asked.append(params)
        found = sorted((one for one in self.ids if one < params["after"]), reverse=True)
        page = [
            {
                "trade_id": one,
                "price": "400",
                "size": "1",
                "side": "buy",
                "time": "2014-11-07T08:19:27Z",
            }
            for one in found[: params["limit"]]
        ]
        return Reply(json.dumps(page).encode(), 7)

    def as_rest(self) -> RestClient:
        return cast(RestClient, self)


def missing(first_id: int, last_id: int) -> tuple[Tap, InstrumentFeed]:
    """A product that has seen the trades on either side."""
    tap = Tap()
    feed = make_feed(tap, Statuses(), FeedSettings(), name="coinbase")
    product = InstrumentFeed(feed, Listed("BTC-USD", "BTC-USD"), lambda: None)
    product.on_match(match(first_id - 1), 5)
    product.on_match(match(last_id + 1), 5)
    return tap, product


async def test_what_is_missing_is_published_and_asked_for_no_further() -> None:
    tap, product = missing(11, 13)
    venue = Pages(*range(1, 15))
    assert await trades.fetch(venue.as_rest(), product, 11, 13) == ""
    ids = [trade.trade_id for trade in tap.bodies("md/trades/sim/BTC-USD/")]
    assert ids == [10, 14, 11, 12, 13]
    assert venue.asked == [{"after": 15, "limit": 5}]
    assert product.trades.sequence.missing == ()


async def test_ids_that_are_no_trades_are_no_loss() -> None:
    _, product = missing(11, 13)
    assert await trades.fetch(Pages(10, 12, 14).as_rest(), product, 11, 13) == ""
    assert product.trades.losses().skipped == 2
    assert product.trades.sequence.missing == ()


async def test_a_page_that_is_not_up_to_date_proves_nothing() -> None:
    _, product = missing(11, 13)
    why = await trades.fetch(Pages(9, 10).as_rest(), product, 11, 13)
    assert why == "the venue does not show them yet"
    assert product.trades.sequence.missing == ((11, 13),)


async def test_trades_too_old_for_the_venue_stay_missing() -> None:
    _, product = missing(11, 13)
    assert await trades.fetch(Pages().as_rest(), product, 11, 13) == "the venue tells no older ones"


async def test_more_than_ten_pages_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "TRADES_PER_CALL", 3)
    _, product = missing(11, 100)
    venue = Pages(*range(1, 102))
    assert await trades.fetch(venue.as_rest(), product, 11, 100) == "too many are missing"
    assert len(venue.asked) == trades.PAGES
    assert product.trades.sequence.missing[0][0] == 11


async def test_a_call_that_fails_is_the_callers_business() -> None:
    class Broken(Pages):
        async def get(self, path: str, params: dict[str, int]) -> Reply:
            raise RestError("venue", "no", status=503)

    _, product = missing(11, 13)
    with pytest.raises(RestError):
        await trades.fetch(Broken().as_rest(), product, 11, 13)
