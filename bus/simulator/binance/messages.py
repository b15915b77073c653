"""Binance's WebSocket payloads, byte for byte in the documented field order.

Pure. Prices and sizes are decimal strings with eight places, ids and times integers
(binance-spot-api-docs: web-socket-streams.md, "Detailed Stream information").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bus.simulator.instruments import e8_text
from bus.simulator.ladder import Diff, Level
from bus.simulator.market import AggregateTrade, Quote, Trade
from bus.simulator.stats import Window

NS_PER_MS = 1_000_000
NS_PER_US = 1_000


@dataclass(frozen=True, slots=True)
class VenueTime:
    """How times are written: in units of ``unit_ns``, ``skew_ns`` away from the true time."""

    unit_ns: int = NS_PER_MS
    skew_ns: int = 0

    def __call__(self, time_ns: int) -> int:
        return (time_ns + self.skew_ns) // self.unit_ns


def wrapped(stream: str, payload: bytes) -> bytes:
    """The combined form of a payload."""
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def levels_text(levels: Iterable[Level]) -> str:
    """``["price","size"],…`` without the outer brackets."""
    return ",".join([f'["{e8_text(price)}","{e8_text(size)}"]' for price, size in levels])


def trade(symbol: str, event: Trade, now_ns: int, stamp: VenueTime) -> bytes:
    """``<symbol>@trade``."""
    return (
        f'{{"e":"trade","E":{stamp(now_ns)},"s":"{symbol}","t":{event.trade_id},'
        f'"p":"{e8_text(event.price_e8)}","q":"{e8_text(event.size_e8)}",'
        f'"T":{stamp(event.time_ns)},"m":{_flag(event.buyer_is_maker)},"M":true}}'
    ).encode()


def aggregate_trade(symbol: str, event: AggregateTrade, now_ns: int, stamp: VenueTime) -> bytes:
    """``<symbol>@aggTrade``."""
    return (
        f'{{"e":"aggTrade","E":{stamp(now_ns)},"s":"{symbol}","a":{event.aggregate_id},'
        f'"p":"{e8_text(event.price_e8)}","q":"{e8_text(event.size_e8)}",'
        f'"f":{event.first_id},"l":{event.last_id},"T":{stamp(event.time_ns)},'
        f'"m":{_flag(event.buyer_is_maker)},"M":true}}'
    ).encode()


def book_ticker(symbol: str, quote: Quote) -> bytes:
    """``<symbol>@bookTicker``: no event time, no event type."""
    return (
        f'{{"u":{quote.update_id},"s":"{symbol}","b":"{e8_text(quote.bid_e8)}",'
        f'"B":"{e8_text(quote.bid_size_e8)}","a":"{e8_text(quote.ask_e8)}",'
        f'"A":"{e8_text(quote.ask_size_e8)}"}}'
    ).encode()


def depth_update(symbol: str, diff: Diff, now_ns: int, stamp: VenueTime) -> bytes:
    """``<symbol>@depth`` and ``@depth@100ms``."""
    return (
        f'{{"e":"depthUpdate","E":{stamp(now_ns)},"s":"{symbol}","U":{diff.first_id},'
        f'"u":{diff.last_id},"b":[{levels_text(diff.bids)}],"a":[{levels_text(diff.asks)}]}}'
    ).encode()


def depth_snapshot(update_id: int, bids: Iterable[Level], asks: Iterable[Level]) -> bytes:
    """Partial depth streams and the REST depth reply: neither names the symbol."""
    return (
        f'{{"lastUpdateId":{update_id},"bids":[{levels_text(bids)}],"asks":[{levels_text(asks)}]}}'
    ).encode()


def percent_text(change_e8: int, open_e8: int) -> str:
    """Change in percent with three decimals, as the venue writes it."""
    return f"{change_e8 * 100 / open_e8:.3f}" if open_e8 else "0.000"


def ticker(symbol: str, window: Window, quote: Quote, now_ns: int, stamp: VenueTime) -> bytes:
    """``<symbol>@ticker``."""
    change_e8 = window.last_e8 - window.open_e8
    return (
        f'{{"e":"24hrTicker","E":{stamp(now_ns)},"s":"{symbol}","p":"{e8_text(change_e8)}",'
        f'"P":"{percent_text(change_e8, window.open_e8)}","w":"{e8_text(window.average_e8)}",'
        f'"x":"{e8_text(window.previous_close_e8)}","c":"{e8_text(window.last_e8)}",'
        f'"Q":"{e8_text(window.last_size_e8)}","b":"{e8_text(quote.bid_e8)}",'
        f'"B":"{e8_text(quote.bid_size_e8)}","a":"{e8_text(quote.ask_e8)}",'
        f'"A":"{e8_text(quote.ask_size_e8)}","o":"{e8_text(window.open_e8)}",'
        f'"h":"{e8_text(window.high_e8)}","l":"{e8_text(window.low_e8)}",'
        f'"v":"{e8_text(window.volume_e8)}","q":"{e8_text(window.quote_e8)}",'
        f'"O":{stamp(window.open_ns)},"C":{stamp(window.close_ns)},"F":{window.first_id},'
        f'"L":{window.last_id},"n":{window.count}}}'
    ).encode()


def mini_ticker(symbol: str, window: Window, now_ns: int, stamp: VenueTime) -> bytes:
    """``<symbol>@miniTicker``, and one item of ``!miniTicker@arr``."""
    return (
        f'{{"e":"24hrMiniTicker","E":{stamp(now_ns)},"s":"{symbol}",'
        f'"c":"{e8_text(window.last_e8)}","o":"{e8_text(window.open_e8)}",'
        f'"h":"{e8_text(window.high_e8)}","l":"{e8_text(window.low_e8)}",'
        f'"v":"{e8_text(window.volume_e8)}","q":"{e8_text(window.quote_e8)}"}}'
    ).encode()


def server_shutdown(now_ns: int, stamp: VenueTime, combined: bool) -> bytes:
    """The notice that the server is about to go."""
    payload = f'{{"e":"serverShutdown","E":{stamp(now_ns)}}}'.encode()
    return wrapped("!serverShutdown", payload) if combined else payload
