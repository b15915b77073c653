"""Payloads, byte for byte against the venue's documented shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.simulator.binance import messages
from bus.simulator.binance.messages import NS_PER_US, VenueTime
from bus.simulator.instruments import E8, e8_text
from bus.simulator.ladder import Diff
from bus.simulator.market import AggregateTrade, Quote, Trade
from bus.simulator.stats import Window

NOW_NS = 1_672_515_782_136_250_999
TRADE = Trade(12345, 100_000, 100 * E8, NOW_NS - 1_000_000, True)
QUOTE = Quote(400900217, 2_535_190_000, 3_121_000_000, 2_536_520_000, 4_066_000_000)
WINDOW = Window(0, 86_400_000 * 10**6, 90_000, 100_000, 250_000, 90_000, 80_000, 10 * E8,
                10_000 * E8, 18 * E8, 0, 18150, 18151)  # fmt: skip


def test_trade() -> None:
    assert messages.trade("BNBBTC", TRADE, NOW_NS, VenueTime()) == (
        b'{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.00100000",'
        b'"q":"100.00000000","T":1672515782135,"m":true,"M":true}'
    )


def test_times_in_microseconds_and_off_by_the_skew() -> None:
    stamp = VenueTime(NS_PER_US, skew_ns=5_000_000_000)
    payload = json.loads(messages.trade("BNBBTC", TRADE, NOW_NS, stamp))
    assert (payload["E"], payload["T"]) == (1672515787136250, 1672515787135250)


def test_aggregate_trade() -> None:
    event = AggregateTrade(777, 100_000, 100 * E8, 100, 105, NOW_NS, False)
    assert messages.aggregate_trade("BNBBTC", event, NOW_NS, VenueTime()) == (
        b'{"e":"aggTrade","E":1672515782136,"s":"BNBBTC","a":777,"p":"0.00100000",'
        b'"q":"100.00000000","f":100,"l":105,"T":1672515782136,"m":false,"M":true}'
    )


def test_book_ticker() -> None:
    assert messages.book_ticker("BNBUSDT", QUOTE) == (
        b'{"u":400900217,"s":"BNBUSDT","b":"25.35190000","B":"31.21000000",'
        b'"a":"25.36520000","A":"40.66000000"}'
    )


def test_depth_update() -> None:
    diff = Diff(157, 160, ((240_000, 10 * E8),), ((260_000, 0),))
    assert messages.depth_update("BNBBTC", diff, NOW_NS, VenueTime()) == (
        b'{"e":"depthUpdate","E":1672515782136,"s":"BNBBTC","U":157,"u":160,'
        b'"b":[["0.00240000","10.00000000"]],"a":[["0.00260000","0.00000000"]]}'
    )


def test_depth_snapshot() -> None:
    assert messages.depth_snapshot(160, [(240_000, 10 * E8)], []) == (
        b'{"lastUpdateId":160,"bids":[["0.00240000","10.00000000"]],"asks":[]}'
    )


def test_ticker() -> None:
    assert messages.ticker("BNBUSDT", WINDOW, QUOTE, NOW_NS, VenueTime()) == (
        b'{"e":"24hrTicker","E":1672515782136,"s":"BNBUSDT","p":"-0.00020000","P":"-20.000",'
        b'"w":"0.00180000","x":"0.00090000","c":"0.00080000","Q":"10.00000000","b":"25.35190000",'
        b'"B":"31.21000000","a":"25.36520000","A":"40.66000000","o":"0.00100000",'
        b'"h":"0.00250000","l":"0.00090000","v":"10000.00000000","q":"18.00000000","O":0,'
        b'"C":86400000,"F":0,"L":18150,"n":18151}'
    )


def test_mini_ticker() -> None:
    assert messages.mini_ticker("BNBBTC", WINDOW, NOW_NS, VenueTime()) == (
        b'{"e":"24hrMiniTicker","E":1672515782136,"s":"BNBBTC","c":"0.00080000",'
        b'"o":"0.00100000","h":"0.00250000","l":"0.00090000","v":"10000.00000000",'
        b'"q":"18.00000000"}'
    )


def test_the_combined_form_wraps_the_payload_unchanged() -> None:
    assert messages.wrapped("btcusdt@trade", b'{"e":1}') == (
        b'{"stream":"btcusdt@trade","data":{"e":1}}'
    )


def test_server_shutdown_in_both_forms() -> None:
    assert messages.server_shutdown(NOW_NS, VenueTime(), combined=False) == (
        b'{"e":"serverShutdown","E":1672515782136}'
    )
    assert messages.server_shutdown(NOW_NS, VenueTime(), combined=True) == (
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1672515782136}}'
    )


@pytest.mark.parametrize(
    ("value_e8", "text"),
    [(0, "0.00000000"), (1, "0.00000001"), (-150_000_000, "-1.50000000"), (-1, "-0.00000001")],
)
def test_eight_decimals(value_e8: int, text: str) -> None:
    assert e8_text(value_e8) == text


def recorded_frames(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            if "futures" not in line["source"]:
                payload = json.loads(line["raw"])
                inner = payload.get("data", payload) if isinstance(payload, dict) else payload
                yield from inner if isinstance(inner, list) else [inner]


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("event", "ours"),
    [
        ("aggTrade", messages.aggregate_trade("A", AggregateTrade(1, 1, 1, 1, 1, 1, True), 1,
                                              VenueTime())),
        ("24hrTicker", messages.ticker("A", WINDOW, QUOTE, NOW_NS, VenueTime())),
        ("24hrMiniTicker", messages.mini_ticker("A", WINDOW, NOW_NS, VenueTime())),
        ("depthUpdate", messages.depth_update("A", Diff(1, 1, (), ()), 1, VenueTime())),
    ],
)  # fmt: skip
def test_keys_and_their_order_are_those_of_recorded_frames(
    event: str, ours: bytes, recorded_dir: Path
) -> None:
    shapes = {
        tuple(frame)
        for frame in recorded_frames(recorded_dir / "frames" / "binance_spot_frames.jsonl")
        if isinstance(frame, dict) and frame.get("e") == event
    }
    assert tuple(json.loads(ours)) in shapes
