"""Kraken's WebSocket v2 payloads, in the documented field order. Pure.

Prices and quantities are JSON **numbers**, times RFC 3339 with microseconds (docs.kraken.com,
websocket-v2). Quantities have eight decimals, prices as many as the pair's ``price_precision``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bus.simulator.instruments import E8, CryptoInstrument
from bus.simulator.ladder import Level
from bus.simulator.market import Quote, Trade
from bus.simulator.stats import Window
from bus.simulator.timestamps import rfc3339

QTY_PRECISION: Final = 8
CHECKED_LEVELS: Final = 10
CONNECTION_ID: Final = 13_834_774_380_200_032_777
"""Beyond 2**63, as the documented one is."""

_encode = msgspec.json.Encoder().encode


def price_precision(instrument: CryptoInstrument) -> int:
    """Decimals of the pair's prices."""
    decimals, increment_e8 = 8, instrument.tick_e8
    while decimals and increment_e8 % 10 == 0:
        increment_e8 //= 10
        decimals -= 1
    return decimals


def number(value_e8: int, decimals: int) -> str:
    """A JSON number of an ``_e8`` integer, with at most ``decimals`` places, one at least."""
    sign = "-" if value_e8 < 0 else ""
    value_e8 = abs(value_e8)
    fraction = f"{value_e8 % E8:08d}"[:decimals].rstrip("0") or "0"
    return f"{sign}{value_e8 // E8}.{fraction}"


def checksum(bids: Sequence[Level], asks: Sequence[Level], decimals: int) -> int:
    """CRC-32 of the ten best levels: digits of asks, then of bids, without leading zeros."""
    scale = 10 ** (8 - decimals)
    text = "".join(
        f"{price_e8 // scale}{size_e8}"
        for side in (asks, bids)
        for price_e8, size_e8 in side[:CHECKED_LEVELS]
    )
    return zlib.crc32(text.encode())


def status(system: str) -> bytes:
    """Sent unasked: on connecting, and when the engine changes state."""
    row = {
        "api_version": "v2",
        "connection_id": CONNECTION_ID,
        "system": system,
        "version": "2.0.0",
    }
    return _encode({"channel": "status", "data": [row], "type": "update"})


HEARTBEAT: Final = b'{"channel":"heartbeat"}'


def reply(
    method: str, result: dict[str, object], req_id: int | None, in_ns: int, out_ns: int
) -> bytes:
    """A granted request for one symbol."""
    body: dict[str, object] = {"method": method}
    if req_id is not None:
        body["req_id"] = req_id
    body |= {"result": result, "success": True}
    return _encode(body | {"time_in": rfc3339(in_ns), "time_out": rfc3339(out_ns)})


def refusal(
    method: str, why: str, symbol: str | None, req_id: int | None, in_ns: int, out_ns: int
) -> bytes:
    """A refused request."""
    body: dict[str, object] = {"error": why, "method": method}
    if req_id is not None:
        body["req_id"] = req_id
    body["success"] = False
    if symbol is not None:
        body["symbol"] = symbol
    return _encode(body | {"time_in": rfc3339(in_ns), "time_out": rfc3339(out_ns)})


def pong(req_id: int | None, in_ns: int, out_ns: int) -> bytes:
    """The answer to ``ping``."""
    body: dict[str, object] = {"method": "pong"}
    if req_id is not None:
        body["req_id"] = req_id
    return _encode(body | {"time_in": rfc3339(in_ns), "time_out": rfc3339(out_ns)})


def instrument_snapshot(instruments: Iterable[CryptoInstrument], pair_status: str) -> bytes:
    """Assets and pairs; increments in exponent form where JSON writers use it."""
    listed = list(instruments)
    assets = [
        {
            "id": name,
            "status": "enabled",
            "precision": 10,
            "precision_display": 5,
            "borrowable": False,
            "collateral_value": 1.0,
        }
        for name in dict.fromkeys([*(one.base for one in listed), "USD"])
    ]
    data = {"assets": assets, "pairs": [_pair(one, pair_status) for one in listed]}
    return _encode({"channel": "instrument", "type": "snapshot", "data": data})


def ticker(
    instrument: CryptoInstrument, quote: Quote, window: Window, time_ns: int, kind: str
) -> bytes:
    """Best bid and ask with 24-hour figures."""
    decimals = price_precision(instrument)
    change_e8 = window.last_e8 - window.open_e8
    percent = 100 * change_e8 / window.open_e8 if window.open_e8 else 0.0

    def price(value_e8: int) -> str:
        return number(value_e8, decimals)

    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{instrument.symbol}",'
        f'"bid":{price(quote.bid_e8)},"bid_qty":{number(quote.bid_size_e8, 8)},'
        f'"ask":{price(quote.ask_e8)},"ask_qty":{number(quote.ask_size_e8, 8)},'
        f'"last":{price(window.last_e8)},"volume":{number(window.volume_e8, 8)},'
        f'"vwap":{price(window.average_e8)},"low":{price(window.low_e8)},'
        f'"high":{price(window.high_e8)},"change":{price(change_e8)},'
        f'"change_pct":{percent:.2f},"timestamp":"{rfc3339(time_ns)}"}}]}}'
    ).encode()


def trades(
    instrument: CryptoInstrument, rows: Iterable[Trade], skew_ns: int, kind: str = "update"
) -> bytes:
    """One or more fills; ``side`` is the taker's."""
    decimals = price_precision(instrument)
    data = ",".join(
        f'{{"symbol":"{instrument.symbol}","side":"{"sell" if row.buyer_is_maker else "buy"}",'
        f'"price":{number(row.price_e8, decimals)},"qty":{number(row.size_e8, 8)},'
        f'"ord_type":"market","trade_id":{row.trade_id},'
        f'"timestamp":"{rfc3339(row.time_ns + skew_ns)}"}}'
        for row in rows
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{data}]}}'.encode()


def book(
    instrument: CryptoInstrument,
    kind: str,
    bids: Iterable[Level],
    asks: Iterable[Level],
    crc: int,
    time_ns: int,
) -> bytes:
    """A snapshot or an update; only updates carry a time."""
    decimals = price_precision(instrument)
    stamp = f',"timestamp":"{rfc3339(time_ns)}"' if kind == "update" else ""
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{instrument.symbol}",'
        f'"bids":[{_levels(bids, decimals)}],"asks":[{_levels(asks, decimals)}],'
        f'"checksum":{crc}{stamp}}}]}}'
    ).encode()


def _levels(levels: Iterable[Level], decimals: int) -> str:
    return ",".join(
        [f'{{"price":{number(price, decimals)},"qty":{number(size, 8)}}}' for price, size in levels]
    )


def _pair(instrument: CryptoInstrument, pair_status: str) -> dict[str, object]:
    precision = price_precision(instrument)
    return {
        "symbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "status": pair_status,
        "qty_precision": QTY_PRECISION,
        "qty_increment": 1e-08,
        "price_precision": precision,
        "cost_precision": 5,
        "marginable": False,
        "has_index": True,
        "cost_min": 0.5,
        "tick_size": instrument.tick_e8 / E8,
        "price_increment": instrument.tick_e8 / E8,
        "qty_min": instrument.lot_e8 / E8,
    }
