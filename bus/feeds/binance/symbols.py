"""Which instruments Binance lists, and what it calls them. Pure.

Names are mapped through ``baseAsset`` and ``quoteAsset`` of exchangeInfo; a venue symbol is never
cut apart. Until exchangeInfo has been read, a symbol is guessed to be its normal form without the
dash, so that a closed REST interface does not keep the streams from running.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bus.feeds.errors import ParseError
from bus.feeds.listing import Listed
from bus.model import Instrument

TRADING: Final = "TRADING"


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """What exchangeInfo tells: instruments by normal symbol, and the REST weight per minute."""

    instruments: Mapping[str, Listed]
    weight_per_minute: int | None


STATUS_WORDS: Final = {
    TRADING: "trading",
    "HALT": "halted",
    "BREAK": "halted",
    "END_OF_DAY": "closed",
}
"""The venue's words; another one (``CANCEL_ONLY``) is passed on in lower case: not trading."""


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str = ""
    tick_size: Any = None
    step_size: Any = None
    min_qty: Any = None
    min_notional: Any = None


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    status: str = TRADING
    filters: list[_Filter] = []

    def described(self) -> Instrument:
        """Of the filters (binance-spot-api-docs: filters.md) what the bus has fields for."""
        rules = {one.filter_type: one for one in self.filters}
        nothing = _Filter()
        price = rules.get("PRICE_FILTER", nothing)
        lot = rules.get("LOT_SIZE", nothing)
        notional = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL", nothing)
        return Instrument(
            base=self.base_asset,
            quote=self.quote_asset,
            kind="spot",
            status=STATUS_WORDS.get(self.status, self.status.lower()),
            venue_symbol=self.symbol,
            tick_size=_number(price.tick_size),
            lot_size=_number(lot.step_size),
            min_size=_number(lot.min_qty),
            min_notional=_number(notional.min_notional),
        )


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str = ""
    interval: str = ""
    interval_num: int = 0
    limit: int = 0


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    symbols: list[_Symbol]
    rate_limits: list[_RateLimit] = []


_DECODER: Final = msgspec.json.Decoder(_ExchangeInfo)


def guess(symbol: str) -> Listed:
    """The instrument of a normal symbol, as long as the venue has not been asked."""
    return Listed(symbol, symbol.replace("-", ""))


def parse_exchange_info(body: bytes) -> ExchangeInfo:
    """The answer of ``GET /api/v3/exchangeInfo``. Raises ParseError."""
    try:
        info = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError("exchange_info", str(error), body) from None
    weight = next(
        (
            limit.limit
            for limit in info.rate_limits
            if (limit.rate_limit_type, limit.interval, limit.interval_num)
            == ("REQUEST_WEIGHT", "MINUTE", 1)
        ),
        None,
    )
    instruments: dict[str, Listed] = {}
    for one in info.symbols:
        symbol = f"{one.base_asset}-{one.quote_asset}"
        trading = one.status == TRADING
        instruments[symbol] = Listed(symbol, one.symbol, trading, described=one.described())
    return ExchangeInfo(instruments, weight)


def _number(value: Any) -> float | None:
    """Decimal text as a number; None when it is absent, no number, or 0: the rule is off."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
