"""What the simulated venues list: symbols, increments, price levels and how busy each one is.

All prices and sizes inside the simulator are integers in units of 1e-8 (``_e8``): the venue's
texts have exactly eight decimals, so nothing is ever rounded on the way out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from bus.errors import ConfigError

E8 = 100_000_000

QUOTE_ASSETS = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR")


@dataclass(frozen=True, slots=True)
class CryptoInstrument:
    """One Binance spot symbol.

    ``tick_e8`` and ``lot_e8`` are the price and size increments, ``start_e8`` the price on which
    the market opens and to which it is drawn back slowly. ``daily_volatility`` is a fraction of
    the price; ``orders_per_s`` and ``takers_per_s`` are mean rates of book changes and of
    aggressive orders; ``level_quote`` is the usual value of one price level and ``taker_quote`` of
    one aggressive order, both in the quote asset.
    """

    symbol: str
    base: str
    quote: str
    tick_e8: int
    lot_e8: int
    start_e8: int
    daily_volatility: float
    orders_per_s: float
    takers_per_s: float
    level_quote: float
    taker_quote: float


@dataclass(frozen=True, slots=True)
class StockInstrument:
    """One US stock: ``start`` and previous close in dollars, mean trades a second."""

    symbol: str
    description: str
    start: float
    daily_volatility: float
    trades_per_s: float


_CRYPTO = {
    row.symbol: row
    for row in (
        CryptoInstrument("BTCUSDT", "BTC", "USDT", 10**6, 10**3, 61_800 * E8, 0.025, 220, 6.0,
                         9_000, 450),
        CryptoInstrument("ETHUSDT", "ETH", "USDT", 10**6, 10**4, 2_640 * E8, 0.032, 130, 4.0,
                         6_000, 350),
        CryptoInstrument("SOLUSDT", "SOL", "USDT", 10**6, 10**5, 15_200 * 10**6, 0.045, 70, 2.5,
                         3_500, 250),
        CryptoInstrument("BNBUSDT", "BNB", "USDT", 10**6, 10**5, 51_000 * 10**6, 0.028, 30, 1.2,
                         3_000, 220),
        CryptoInstrument("XRPUSDT", "XRP", "USDT", 10**4, 10**7, 5_900 * 10**4, 0.04, 30, 1.2,
                         3_000, 220),
    )
}  # fmt: skip

_STOCKS = {
    row.symbol: row
    for row in (
        StockInstrument("AAPL", "APPLE INC", 213.31, 0.016, 3.0),
        StockInstrument("MSFT", "MICROSOFT CORP", 402.69, 0.014, 2.0),
        StockInstrument("GOOGL", "ALPHABET INC-CL A", 162.03, 0.017, 1.5),
        StockInstrument("AMZN", "AMAZON.COM INC", 165.80, 0.02, 1.5),
        StockInstrument("NVDA", "NVIDIA CORP", 104.97, 0.034, 4.0),
        StockInstrument("TSLA", "TESLA INC", 198.84, 0.035, 2.5),
    )
}


def _fraction(symbol: str) -> float:
    """A number in [0, 1) fixed by the symbol, the same on every machine and run."""
    return int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:6]) / 2**48


def crypto_instrument(symbol: str) -> CryptoInstrument:
    """The listing for a Binance symbol, made up from its name where it is not a known one.

    Raises :class:`ConfigError` when the symbol does not end in a quote asset or is not upper case.
    """
    known = _CRYPTO.get(symbol)
    if known is not None:
        return known
    for quote in QUOTE_ASSETS:
        base = symbol.removesuffix(quote)
        if base and base != symbol and symbol.isascii() and symbol.isalnum() and symbol.isupper():
            break
    else:
        raise ConfigError.of(
            "simulator.crypto_symbols",
            f"{symbol!r} is no Binance symbol",
            hint=f"upper case, ending in one of {', '.join(QUOTE_ASSETS)}",
        )
    tick_e8 = 10**4
    start_e8 = int(10 ** (_fraction(symbol) * 3) * E8) // tick_e8 * tick_e8
    lot_e8 = 10**5 if start_e8 > 10 * E8 else 10**7
    return CryptoInstrument(
        symbol, base, quote, tick_e8, lot_e8, start_e8, 0.04, 20, 0.8, 2_500, 200
    )


def dollar_instrument(
    leading: CryptoInstrument, separator: str, tick_e8: int | None = None
) -> CryptoInstrument:
    """The same asset against USD on another venue, half as busy: ``BTC-USD``, ``BTC/USD``.

    ``tick_e8``: that venue's own price increment, where it differs.
    """
    tick_e8 = leading.tick_e8 if tick_e8 is None else tick_e8
    return replace(
        leading,
        symbol=f"{leading.base}{separator}USD",
        quote="USD",
        tick_e8=tick_e8,
        start_e8=leading.start_e8 // tick_e8 * tick_e8,
        orders_per_s=leading.orders_per_s / 2,
        takers_per_s=leading.takers_per_s / 2,
    )


def stock_instrument(symbol: str) -> StockInstrument:
    """The listing for a stock symbol, made up from its name where it is not a known one.

    Raises :class:`ConfigError` when the symbol is not 1–6 upper-case letters (and a class dot).
    """
    known = _STOCKS.get(symbol)
    if known is not None:
        return known
    plain = symbol.replace(".", "", 1)
    if not (plain.isascii() and plain.isalpha() and plain.isupper() and len(plain) <= 6):
        raise ConfigError.of("simulator.stock_symbols", f"{symbol!r} is no stock symbol")
    return StockInstrument(symbol, symbol, round(20 + 400 * _fraction(symbol), 2), 0.02, 0.8)


def e8_text(value_e8: int) -> str:
    """An ``_e8`` integer as the venue writes it: ``-1.50000000``."""
    if value_e8 < 0:
        return "-" + e8_text(-value_e8)
    return f"{value_e8 // E8}.{value_e8 % E8:08d}"
