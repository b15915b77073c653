"""Missing trades of a Binance symbol, out of the venue's list of its last thousand.

Source: binance-spot-api-docs, rest-api.md, ``GET /api/v3/trades``. (``historicalTrades`` reaches
further back, but the market-data-only hosts do not serve it.)
"""

from __future__ import annotations

from bus.feeds.binance import endpoints
from bus.feeds.binance.instrument_feed import InstrumentFeed
from bus.feeds.binance.parser import parse_trades
from bus.feeds.budget import Priority
from bus.feeds.rest import RestClient
from bus.feeds.trade_repair import OutOfReach

WHY: str = f"the venue tells its last {endpoints.TRADES_PER_CALL} trades only"


async def fetch(rest: RestClient, one: InstrumentFeed, first_id: int, last_id: int) -> str:
    """One list serves every gap; why some may be missing still.

    An id that the list leaves out between others is no trade. Whatever proved the gap is the trade
    ``last_id`` or the one after it, so a list that ends before it is not up to date yet. Raises
    RestError, ParseError, OutOfReach.
    """
    reply = await rest.get(
        endpoints.TRADES_PATH,
        {"symbol": one.instrument.venue_symbol, "limit": endpoints.TRADES_PER_CALL},
        weight=endpoints.TRADES_WEIGHT,
        priority=Priority.TRADES,
    )
    listed = parse_trades(reply.take())
    if not listed:
        return "the venue tells no trades"
    one.on_fetched(listed, reply.recv_ns)
    oldest_id, newest_id = listed[0].trade_id, listed[-1].trade_id
    sequence = one.trades.sequence
    sequence.skip(oldest_id, newest_id)
    if newest_id < last_id:
        return "the venue does not show them yet"
    if sequence.missing and sequence.missing[0][0] < oldest_id:
        raise OutOfReach(WHY, oldest_id - 1)
    return ""
