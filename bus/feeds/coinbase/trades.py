"""Missing trades of a Coinbase product, fetched by pages of ``GET /products/{id}/trades``."""

from __future__ import annotations

from typing import Final

from bus.feeds.coinbase import endpoints
from bus.feeds.coinbase.instrument_feed import InstrumentFeed
from bus.feeds.coinbase.parser import parse_trades
from bus.feeds.rest import RestClient

PAGES: Final = 10
"""Pages of a thousand trades fetched for one gap; what lies before them is given up."""


async def fetch(rest: RestClient, one: InstrumentFeed, first_id: int, last_id: int) -> str:
    """Pages of older and older trades until ``first_id``; why some may be missing still.

    A page that shows a trade on either side of an id, but not that id, says that there is no such
    trade. Whatever proved the gap is the trade ``last_id`` or the one after it, so a page that
    shows neither is not up to date yet. Raises RestError, ParseError.
    """
    path = endpoints.trades_path(one.instrument.venue_symbol)
    before_id = last_id + 2
    for _ in range(PAGES):
        limit = min(endpoints.TRADES_PER_CALL, before_id - first_id + 1)
        reply = await rest.get(path, {"after": before_id, "limit": limit})
        page = parse_trades(reply.take())
        for item in reversed(page):
            if first_id <= item.trade_id <= last_id:
                one.on_fetched(item, reply.recv_ns)
        ids = [item.trade_id for item in page if item.trade_id < before_id]
        if not ids:
            return "the venue tells no older ones"
        if before_id > last_id and max(ids) < last_id:
            return "the venue does not show them yet"
        one.trades.sequence.skip(max(min(ids), first_id), last_id)
        if min(ids) <= first_id:
            return ""
        before_id = min(ids)
    return "too many are missing"
