"""Ticks as lines for people and as JSON for programs. Pure."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from bus.model.tick import (
    Body,
    Depth,
    Instrument,
    News,
    OrderBook,
    Price,
    Quote,
    Status,
    Tick,
    Ticker,
    Trade,
)
from bus.supervision.documents import json_line

_UNKNOWN: Final = "-"


def tick_line(tick: Tick) -> str:
    """One line: local time of publication, venue, symbol, stream, and what the tick says."""
    topic = tick.topic
    seconds, ns = divmod(tick.pub_ts_ns, 1_000_000_000)
    clock = f"{time.strftime('%H:%M:%S', time.localtime(seconds))}.{ns // 1_000_000:03d}"
    who = f"{topic.venue} {topic.symbol}".strip()
    return f"{clock}  {who:<18} {topic.stream:<9} {body_text(tick.body)}"


def tick_json(tick: Tick, kind: str) -> str:
    """One line of JSON; ``kind`` says how it came: snapshot, live or replay."""
    return json_line({**tick_table(tick), "kind": kind})


def tick_table(tick: Tick) -> dict[str, Any]:
    """A tick as a plain table: the fields of `bus.model.Tick`, the body by field names."""
    return {
        "topic": tick.topic.name,
        "epoch": tick.epoch,
        "seq": tick.seq,
        "venue_ts_ns": tick.venue_ts_ns,
        "recv_ts_ns": tick.recv_ts_ns,
        "pub_ts_ns": tick.pub_ts_ns,
        "body": msgspec.structs.asdict(tick.body),
    }


def body_text(body: Body) -> str:
    """What one body says, in a few words."""
    match body:
        case Price():
            return (
                f"{_number(body.price):>12}  change {_signed(body.change)} "
                f"({_signed(body.change_percent, 2)} %)  24 h volume {_number(body.volume)}"
            )
        case Quote():
            return (
                f"bid {_number(body.bid_price)} × {_number(body.bid_size)}   "
                f"ask {_number(body.ask_price)} × {_number(body.ask_size)}"
            )
        case Ticker():
            return (
                f"{_number(body.last):>12}  open {_number(body.open)}  high {_number(body.high)}  "
                f"low {_number(body.low)}  {_signed(body.change_percent, 2)} %"
            )
        case OrderBook():
            return f"bid {_best(body.bids)}   ask {_best(body.asks)}   {_levels(body)}"
        case Depth():
            what = "snapshot" if body.is_snapshot else "delta"
            span = f"{body.first_venue_seq}..{body.last_venue_seq}"
            return f"{what} {span}   {_levels(body)}"
        case Trade():
            side = body.aggressor_side or "trade"
            return f"{side:<5} {_number(body.size)} @ {_number(body.price)}"
        case News():
            source = f" ({body.publisher})" if body.publisher else ""
            return _plain(f"{body.headline}{source}")
        case Status():
            detail = f": {body.detail}" if body.detail else ""
            return _plain(f"{body.state}  {body.reason}{detail}")
        case Instrument():
            return _plain(
                f"{body.status or _UNKNOWN}  {body.kind or _UNKNOWN}  "
                f"{body.base or _UNKNOWN} in {body.quote or _UNKNOWN}  "
                f"tick {_number(body.tick_size)}  lot {_number(body.lot_size)}"
            )


def _levels(body: OrderBook | Depth) -> str:
    return f"{len(body.bids)} bids, {len(body.asks)} asks"


def _best(levels: list[tuple[float, float]]) -> str:
    return f"{_number(levels[0][0])} × {_number(levels[0][1])}" if levels else _UNKNOWN


def _number(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return text if text not in ("", "-0") else "0"


def _signed(value: float | None, digits: int = 8) -> str:
    if value is None:
        return _UNKNOWN
    text = f"{value:+,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits > 2 else text


def _plain(text: str) -> str:
    """Text of a venue on one line, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)[:300]
