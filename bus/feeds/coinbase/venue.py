"""The Coinbase Exchange feed: where it is, how its list is had, and its missing trades.

Wiring only; frames are handled in ``connection``, products in ``instrument_feed``, trades that are
missing in ``trades``.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from bus.feeds.coinbase import endpoints, trades
from bus.feeds.coinbase.connection import Connection
from bus.feeds.coinbase.symbols import guess, parse_products
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.listing import Listed
from bus.feeds.rest import RestClient, client_for
from bus.feeds.streaming_venue import StreamingVenue
from bus.feeds.trade_repair import TradeRepair
from bus.feeds.trade_sequence import trade_figures
from bus.runtime import get_logger

_log = get_logger("feeds.coinbase")


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    return CoinbaseFeed(feed)


class CoinbaseFeed(StreamingVenue[Connection]):
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    streams_a_symbol = len(endpoints.CHANNELS)

    def __init__(self, feed: Feed) -> None:
        base = feed.rest_base or endpoints.REST_BASE
        rest = client_for(feed, base, budget_per_minute=endpoints.CALLS_PER_MINUTE)
        super().__init__(feed, _log, rest)
        self._calls: RestClient = rest
        self._repair = TradeRepair(_log, feed.backoff)
        self._products: frozenset[str] = frozenset()

    def _url(self) -> str:
        return self._feed.ws_base or endpoints.WS_BASE

    def _connection(self, instruments: Sequence[Listed]) -> Connection:
        return Connection(self._feed, instruments, exists=lambda product: product in self._products)

    def _guess(self, symbol: str) -> Listed:
        return guess(symbol)

    async def _ask_list(self, symbols: Sequence[str]) -> Mapping[str, Listed]:
        reply = await self._calls.get(endpoints.PRODUCTS_PATH, {})
        listed = parse_products(reply.take())
        self._products = frozenset(one.venue_symbol for one in listed.values())
        return listed

    def _keep(self, connection: Connection, symbol: str) -> Sequence[Coroutine[Any, Any, None]]:
        one = connection.instruments[symbol]
        fetch = partial(trades.fetch, self._calls, one)
        return (self._repair.keep(one.trades, fetch, symbol),)

    def _figures(self) -> dict[str, int | float | str]:
        return {**trade_figures([one.trades.losses() for one in self._instruments()])}
