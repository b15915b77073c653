"""Coinbase Exchange's WebSocket payloads, in the documented field order. Pure.

Prices and sizes are decimal strings, times RFC 3339 with microseconds (docs.cdp.coinbase.com:
Exchange, WebSocket channels). ``match.side`` is the side of the **maker**, ``ticker.side`` that of
the taker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

import msgspec

from bus.simulator.instruments import E8, CryptoInstrument, e8_text
from bus.simulator.ladder import Diff, Level
from bus.simulator.market import Quote, Trade
from bus.simulator.stats import Window
from bus.simulator.timestamps import rfc3339

_encode = msgspec.json.Encoder().encode


def price_text(price_e8: int, instrument: CryptoInstrument) -> str:
    """A price with as many decimals as the product's ``quote_increment``."""
    decimals = increment_decimals(instrument.tick_e8)
    text = e8_text(price_e8)
    return text[: len(text) - 8 + decimals] if decimals else text[:-9]


def increment_decimals(increment_e8: int) -> int:
    """Decimals of an increment: 2 of 0.01."""
    decimals = 8
    while decimals and increment_e8 % 10 == 0:
        increment_e8 //= 10
        decimals -= 1
    return decimals


def maker_side(trade: Trade) -> str:
    """``buy`` when the resting order was a bid."""
    return "buy" if trade.buyer_is_maker else "sell"


def taker_side(trade: Trade) -> str:
    """The opposite."""
    return "sell" if trade.buyer_is_maker else "buy"


def subscriptions(channels: Mapping[str, Iterable[str]]) -> bytes:
    """Everything a connection is subscribed to; ``level2_batch`` is called ``level2`` here."""
    listed = [
        {"name": "level2" if name == "level2_batch" else name, "product_ids": list(products)}
        for name, products in channels.items()
        if products
    ]
    return _encode({"type": "subscriptions", "channels": listed})


def error(message: str, reason: str = "") -> bytes:
    """A refusal."""
    body = {"type": "error", "message": message}
    return _encode({**body, "reason": reason} if reason else body)


def heartbeat(product: str, sequence: int, last_trade_id: int, time_ns: int) -> bytes:
    """One a second for each product."""
    return (
        f'{{"type":"heartbeat","sequence":{sequence},"last_trade_id":{last_trade_id},'
        f'"product_id":"{product}","time":"{rfc3339(time_ns)}"}}'
    ).encode()


def match(
    instrument: CryptoInstrument, trade: Trade, sequence: int, skew_ns: int, kind: str = "match"
) -> bytes:
    """One fill; ``kind`` is ``last_match`` for the first message of the channel."""
    maker = UUID(int=trade.trade_id << 64 | 0x4000 << 64 | 1 << 63)
    taker = UUID(int=(trade.trade_id * 7_919) << 64 | 2 << 62)
    return (
        f'{{"type":"{kind}","trade_id":{trade.trade_id},"sequence":{sequence},'
        f'"maker_order_id":"{maker}","taker_order_id":"{taker}",'
        f'"time":"{rfc3339(trade.time_ns + skew_ns)}","product_id":"{instrument.symbol}",'
        f'"size":"{e8_text(trade.size_e8)}","price":"{price_text(trade.price_e8, instrument)}",'
        f'"side":"{maker_side(trade)}"}}'
    ).encode()


def ticker(
    instrument: CryptoInstrument,
    trade: Trade,
    quote: Quote,
    window: Window,
    sequence: int,
    skew_ns: int,
) -> bytes:
    """After a match: price, 24-hour figures and the best bid and ask."""

    def price(value_e8: int) -> str:
        return price_text(value_e8, instrument)

    return (
        f'{{"type":"ticker","sequence":{sequence},"product_id":"{instrument.symbol}",'
        f'"price":"{price(trade.price_e8)}","open_24h":"{price(window.open_e8)}",'
        f'"volume_24h":"{e8_text(window.volume_e8)}","low_24h":"{price(window.low_e8)}",'
        f'"high_24h":"{price(window.high_e8)}","volume_30d":"{e8_text(30 * window.volume_e8)}",'
        f'"best_bid":"{price(quote.bid_e8)}","best_bid_size":"{e8_text(quote.bid_size_e8)}",'
        f'"best_ask":"{price(quote.ask_e8)}","best_ask_size":"{e8_text(quote.ask_size_e8)}",'
        f'"side":"{taker_side(trade)}","time":"{rfc3339(trade.time_ns + skew_ns)}",'
        f'"trade_id":{trade.trade_id},"last_size":"{e8_text(trade.size_e8)}"}}'
    ).encode()


def snapshot(instrument: CryptoInstrument, bids: Iterable[Level], asks: Iterable[Level]) -> bytes:
    """The whole book, best first."""
    return (
        f'{{"type":"snapshot","product_id":"{instrument.symbol}",'
        f'"bids":[{_levels(instrument, bids)}],"asks":[{_levels(instrument, asks)}]}}'
    ).encode()


def l2update(instrument: CryptoInstrument, diff: Diff, time_ns: int) -> bytes:
    """Changed levels with their new sizes; prices with six decimals, as the venue's samples."""
    changes = ",".join(
        f'["{side}","{e8_text(price_e8)[:-2]}","{e8_text(size_e8)}"]'
        for side, levels in (("buy", diff.bids), ("sell", diff.asks))
        for price_e8, size_e8 in levels
    )
    return (
        f'{{"type":"l2update","product_id":"{instrument.symbol}","changes":[{changes}],'
        f'"time":"{rfc3339(time_ns)}"}}'
    ).encode()


def product(instrument: CryptoInstrument) -> dict[str, object]:
    """One entry of ``/products``."""
    return {
        "id": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "quote_increment": increment_text(instrument.tick_e8),
        "base_increment": increment_text(instrument.lot_e8),
        "display_name": f"{instrument.base}-{instrument.quote}",
        "min_market_funds": "1",
        "margin_enabled": False,
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "fx_stablecoin": False,
        "auction_mode": False,
    }


def status(instruments: Iterable[CryptoInstrument]) -> bytes:
    """The products there are."""
    products = [product(instrument) for instrument in instruments]
    return _encode({"type": "status", "products": products, "currencies": []})


def increment_text(increment_e8: int) -> str:
    """``0.01``."""
    decimals = increment_decimals(increment_e8)
    return f"{increment_e8 / E8:.{decimals}f}"


def _levels(instrument: CryptoInstrument, levels: Iterable[Level]) -> str:
    return ",".join(
        [f'["{price_text(price, instrument)}","{e8_text(size)}"]' for price, size in levels]
    )
