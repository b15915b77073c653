"""Who gets what: the hub and the streams of a market, without sockets."""

from __future__ import annotations

import json
from typing import Any, cast

from bus.simulator.binance.messages import VenueTime
from bus.simulator.binance.streams import Hub, MarketStreams
from bus.simulator.clients import Client
from bus.simulator.faults import Faults
from bus.simulator.instruments import crypto_instrument
from bus.simulator.market import SymbolMarket

NOW_NS = 1_723_161_253_000_000_000
RAW, WRAPPED, MICRO = (False, False), (True, False), (False, True)


class Taker:
    """A client that keeps what it is given."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def push(self, message: bytes) -> bool:
        self.got.append(message)
        return True


def subscribe(hub: Hub, form: tuple[bool, bool], *streams: str) -> Taker:
    taker = Taker()
    hub.subscribe(cast(Client, taker), form, streams)
    return taker


def test_each_form_is_built_once_and_shared() -> None:
    hub = Hub(Faults())
    takers = [subscribe(hub, form, "a@trade") for form in (RAW, RAW, WRAPPED, MICRO)]
    built: list[VenueTime] = []

    def build(stamp: VenueTime) -> bytes:
        built.append(stamp)
        return b"%d" % stamp.unit_ns

    hub.publish("a@trade", NOW_NS, build)
    assert [taker.got for taker in takers] == [
        [b"1000000"], [b"1000000"], [b'{"stream":"a@trade","data":1000000}'], [b"1000"]
    ]  # fmt: skip
    assert len(built) == 2


def test_nothing_is_built_for_nobody() -> None:
    def build(_stamp: VenueTime) -> bytes:
        raise AssertionError("built for nobody")

    Hub(Faults()).publish("a@trade", NOW_NS, build)


def test_giving_up_the_last_subscription_forgets_the_stream() -> None:
    hub = Hub(Faults())
    taker = subscribe(hub, RAW, "a@trade", "b@trade")
    hub.unsubscribe(cast(Client, taker), ["a@trade", "c@trade"])
    assert not hub.wants("a@trade")
    assert hub.wants("b@trade")
    hub.unsubscribe(cast(Client, taker), ["b@trade"])
    assert hub.stream_count == 0


def test_skew_reaches_what_is_built() -> None:
    faults = Faults()
    faults.skew_ns = 7
    hub = Hub(faults)
    taker = subscribe(hub, RAW, "a@trade")
    hub.publish("a@trade", NOW_NS, lambda stamp: b"%d" % stamp.skew_ns)
    assert taker.got == [b"7"]


def streams(hub: Hub) -> MarketStreams:
    names = ("BTCUSDT", "ETHUSDT")
    markets = [SymbolMarket(crypto_instrument(name), 1, NOW_NS, levels=50) for name in names]
    return MarketStreams(markets, hub)


def run(venue: MarketStreams, seconds: float) -> None:
    for step in range(1, round(seconds * 50) + 1):
        venue.step(NOW_NS + step * 20_000_000)


def test_the_fast_diffs_come_ten_and_the_slow_one_a_second() -> None:
    hub = Hub(Faults())
    fast, slow, ticker = (
        subscribe(hub, RAW, f"btcusdt@{kind}") for kind in ("depth@100ms", "depth", "ticker")
    )
    run(streams(hub), 3)
    assert [len(taker.got) for taker in (fast, slow, ticker)] == [30, 3, 3]


def test_symbols_do_not_all_publish_in_the_same_step() -> None:
    hub = Hub(Faults())
    order: list[tuple[int, str]] = []

    class Noting(Taker):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def push(self, message: bytes) -> bool:
            order.append((clock[0], self.name))
            return True

    clock = [0]
    for name in ("btcusdt", "ethusdt"):
        hub.subscribe(cast(Client, Noting(name)), RAW, [f"{name}@depth@100ms"])
    venue = streams(hub)
    for step in range(1, 51):
        clock[0] = step
        venue.step(NOW_NS + step * 20_000_000)
    steps: dict[str, set[Any]] = {
        name: {at for at, who in order if who == name} for _, name in order
    }
    assert not steps["btcusdt"] & steps["ethusdt"]


def test_a_trade_that_is_to_be_lost_is_not_told() -> None:
    faults = Faults()
    hub = Hub(faults)
    taker = subscribe(hub, RAW, "btcusdt@trade")
    faults.arm_next("drop_trade", "BTCUSDT", 2)
    venue = streams(hub)
    while len(taker.got) < 3:
        run(venue, 5)
    first_id = json.loads(taker.got[0])["t"]
    ids = [json.loads(message)["t"] for message in taker.got]
    assert ids == list(range(first_id, first_id + len(ids)))
    assert faults.happened["drop_trade"] == 2
