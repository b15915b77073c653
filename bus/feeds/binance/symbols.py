"""Which instruments Binance lists, and what it calls them. Pure.

Names are mapped through ``baseAsset`` and ``quoteAsset`` of exchangeInfo; a venue symbol is never
cut apart. Until exchangeInfo has been read, a symbol is guessed to be its normal form without the
dash, so that a closed REST interface does not keep the streams from running.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bus.feeds.errors import ParseError

TRADING: Final = "TRADING"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One listed pair: ``BTC-USDT`` here, ``BTCUSDT`` there. ``status`` is the venue's word."""

    symbol: str
    venue_symbol: str
    status: str = TRADING


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


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    base_asset: str
    quote_asset: str
    status: str = TRADING


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
        instruments[symbol] = Instrument(symbol, listed.symbol, listed.status)
    return ExchangeInfo(instruments, weight)


def choose(wanted: Sequence[str], listed: Mapping[str, Instrument]) -> Choice:
    """The wanted symbols that are listed, in order, without repeats; the others with a hint."""
    chosen: dict[str, Instrument] = {}
    rejected: dict[str, str] = {}
    for symbol in wanted:
        if symbol in listed:
            chosen[symbol] = listed[symbol]
        else:
            near = difflib.get_close_matches(symbol.upper(), listed, n=3, cutoff=0.6)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            rejected[symbol] = f"the venue lists no {symbol}{hint}"
    return Choice(tuple(chosen.values()), rejected)
