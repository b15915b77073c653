"""Which instruments Binance lists, and what it calls them. Pure.

Names are mapped through ``baseAsset`` and ``quoteAsset`` of exchangeInfo; a venue symbol is never
cut apart. Until exchangeInfo has been read, a symbol is guessed to be its normal form without the
dash, so that a closed REST interface does not keep the streams from running.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bus.feeds.errors import ParseError
from bus.model import Instrument as Description

TRADING: Final = "TRADING"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed pair: ``BTC-USDT`` here, ``BTCUSDT`` there. ``status`` is the venue's word.

    ``described``: what is told of it on the bus; None as long as the venue has not been asked.
    """

    symbol: str
    venue_symbol: str
    status: str = TRADING
    described: Description | None = None


@dataclass(frozen=True, slots=True)
class ExchangeInfo:
    """What exchangeInfo tells: instruments by normal symbol, and the REST weight per minute."""

    instruments: Mapping[str, Instrument]
    weight_per_minute: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the wanted symbols can be served; ``rejected``: symbol to a sentence saying why."""

    instruments: tuple[Instrument, ...]
    rejected: Mapping[str, str]


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

    def described(self) -> Description:
        """Of the filters (binance-spot-api-docs: filters.md) what the bus has fields for."""
        rules = {one.filter_type: one for one in self.filters}
        nothing = _Filter()
        price = rules.get("PRICE_FILTER", nothing)
        lot = rules.get("LOT_SIZE", nothing)
        notional = rules.get("NOTIONAL") or rules.get("MIN_NOTIONAL", nothing)
        return Description(
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


def guess(symbol: str) -> Instrument:
    """The instrument of a normal symbol, as long as the venue has not been asked."""
    return Instrument(symbol, symbol.replace("-", ""))


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
    instruments: dict[str, Instrument] = {}
    for listed in info.symbols:
        symbol = f"{listed.base_asset}-{listed.quote_asset}"
        instruments[symbol] = Instrument(symbol, listed.symbol, listed.status, listed.described())
    return ExchangeInfo(instruments, weight)


def choose(wanted: Sequence[str], listed: Mapping[str, Instrument]) -> Choice:
    """The wanted symbols that are listed, in order, without repeats; the others with a hint."""
    chosen: dict[str, Instrument] = {}
    rejected: dict[str, str] = {}
    for symbol in wanted:
        if symbol in listed:
            chosen[symbol] = listed[symbol]
        else:
            near = nearest(symbol, listed)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            rejected[symbol] = f"the venue lists no {symbol}{hint}"
    return Choice(tuple(chosen.values()), rejected)


def nearest(symbol: str, listed: Iterable[str]) -> list[str]:
    """At most three listed names that look like the symbol, the most like first."""
    return difflib.get_close_matches(symbol.upper(), list(listed), n=3, cutoff=0.6)


def _number(value: Any) -> float | None:
    """Decimal text as a number; None when it is absent, no number, or 0: the rule is off."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
