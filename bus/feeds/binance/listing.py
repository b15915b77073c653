"""What Binance lists: asked at the start, on adding symbols, and every few minutes.

exchangeInfo of the symbols served is small; the whole list is megabytes, and is asked for only
when a symbol is not known, to name the nearest ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final

from bus.feeds.binance import endpoints
from bus.feeds.binance.symbols import ExchangeInfo, guess, parse_exchange_info
from bus.feeds.budget import Priority
from bus.feeds.errors import RestError
from bus.feeds.feed import Feed
from bus.feeds.rest import RestClient

_AT_ONCE_BYTES: Final = 64 * 1024
"""An answer of this length is read in less than a millisecond."""


class Listing:
    """Asks for exchangeInfo, and takes over the weight a minute it tells."""

    def __init__(self, feed: Feed, rest: RestClient) -> None:
        self._feed = feed
        self._rest = rest

    async def ask(self, symbols: Sequence[str]) -> ExchangeInfo:
        """The instruments of these symbols, or, unless all are known, of the whole venue.

        Raises RestError, ParseError.
        """
        names = [guess(symbol).venue_symbol for symbol in symbols]
        some = {"symbols": json.dumps(names, separators=(",", ":"))}
        try:
            info = await self._get(some)
        except RestError as error:
            if error.kind != "refused":
                raise
            return await self._get({})
        if all(symbol in info.instruments for symbol in symbols):
            return info
        return await self._get({})

    async def _get(self, params: Mapping[str, str | int]) -> ExchangeInfo:
        reply = await self._rest.get(
            endpoints.EXCHANGE_INFO_PATH,
            params,
            weight=endpoints.EXCHANGE_INFO_WEIGHT,
            priority=Priority.START,
        )
        body = reply.take()
        if len(body) <= _AT_ONCE_BYTES:
            info = parse_exchange_info(body)
        else:  # the whole list takes a tenth of a second to read: not on the loop
            info = await asyncio.to_thread(parse_exchange_info, body)
        if not self._feed.settings.rest_weight_per_minute and info.weight_per_minute:
            self._rest.allow(max(1, info.weight_per_minute // 2))
        return info
