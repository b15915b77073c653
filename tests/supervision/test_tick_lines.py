"""Ticks as text: every stream has its line, and nothing in it reaches the terminal."""

from __future__ import annotations

import json

import pytest

from bus.model.streams import STREAMS
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
from bus.model.topic import Topic
from bus.supervision.tick_lines import body_text, tick_json, tick_line

BODIES: list[tuple[Body, str]] = [
    (Price(64251.1, -12.5, -0.02, 10.0), "64,251.1"),
    (Price(0.00000012), "0.00000012  change - (- %)  24 h volume -"),
    (Quote(1.0, 2.0, None, None), "bid 1 × 2   ask - × -"),
    (Ticker(5.0, 4.0, 6.0, 3.0, 1.0, 25.0), "open 4  high 6  low 3  +25.00 %"),
    (OrderBook(9, [(1.0, 2.0)], []), "bid 1 × 2   ask -   1 bids, 0 asks"),
    (Depth(1, 2, [(1.0, 0.0)], [], True), "snapshot 1..2   1 bids, 0 asks"),
    (Trade(10.0, 0.5, "sell", 7), "sell  0.5 @ 10"),
    (
        Instrument("BTC", "USDT", "spot", "trading", "BTCUSDT", 0.01, 0.00001),
        "trading  spot  BTC in USDT  tick 0.01  lot 0.00001",
    ),
    (News("1", "Up\x1b[31m\nagain", None, None, None, "AP", "general", []), "Up [31m again (AP)"),
    (Status("down", "exited", 0, "signal SIGKILL"), "down  exited: signal SIGKILL"),
]


def test_every_stream_is_covered() -> None:
    assert {type(body) for body, _ in BODIES} == {spec.body_type for spec in STREAMS.values()}


@pytest.mark.parametrize(("body", "text"), BODIES, ids=lambda value: type(value).__name__)
def test_a_body_says_what_it_holds(body: Body, text: str) -> None:
    assert text in body_text(body)
    assert body_text(body).isprintable()


TICK = Tick(Topic.md("trades", "sim", "BTC-USDT"), 5, 9, None, 1, 2_000_000, BODIES[6][0])


def test_a_line_names_venue_symbol_and_stream() -> None:
    assert tick_line(TICK).split()[1:4] == ["sim", "BTC-USDT", "trades"]


def test_json_has_every_field_by_name() -> None:
    table = json.loads(tick_json(TICK, "live"))
    assert table["topic"] == "md/trades/sim/BTC-USDT/"
    assert (table["epoch"], table["seq"], table["kind"]) == (5, 9, "live")
    assert table["body"] == {"price": 10.0, "size": 0.5, "aggressor_side": "sell", "trade_id": 7}
