"""Simulated venues as plug-ins, and the world they share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bus.simulator
from bus.config.simulator import DEFAULT_PORTS, SimulatorSettings
from bus.errors import ConfigError
from bus.simulator.instruments import E8
from bus.simulator.process import make_world
from bus.simulator.venue import find_venue, venues
from tests.simulator.conftest import START_NS


def test_every_venue_with_a_port_of_its_own_can_be_simulated() -> None:
    assert set(venues()) <= set(DEFAULT_PORTS)
    for venue in venues():
        assert callable(find_venue(venue))


def test_a_module_is_no_venue() -> None:
    with pytest.raises(ConfigError, match=r"does not speak listener \(known: binance"):
        find_venue("listener")


def test_every_venue_folder_has_the_same_core_files() -> None:
    for venue in venues():
        folder = Path(bus.simulator.__path__[0]) / venue
        assert {"server.py", "session.py", "streams.py"} <= {
            path.name for path in folder.iterdir()
        }, venue


def test_dollar_markets_list_what_is_listed_against_usdt() -> None:
    settings = replace(SimulatorSettings(), crypto_symbols=("BTCUSDT", "ETHBTC", "SOLUSDT"))
    world = make_world(settings, START_NS)
    markets = world.dollar_markets("/", {"BTC": E8 // 10}, diff_streams=0)
    assert list(markets) == ["BTC/USD", "SOL/USD"]
    assert markets["BTC/USD"].instrument.tick_e8 == E8 // 10
    assert markets["SOL/USD"].instrument.tick_e8 == E8 // 100


def test_their_prices_follow_the_leading_ones() -> None:
    world = make_world(replace(SimulatorSettings(), crypto_symbols=("BTCUSDT",)), START_NS)
    leader = world.markets["BTCUSDT"]
    follower = world.dollar_markets("-", {}, diff_streams=0)["BTC-USD"]
    prices = set()
    for step in range(1, 3_001):
        leader.step(START_NS + step * 20_000_000)
        follower.step(START_NS + step * 20_000_000)
        prices.add(follower.quote().bid_e8)
        assert follower.quote().bid_e8 == pytest.approx(leader.quote().bid_e8, rel=0.002)
    assert len(prices) > 20
    assert follower.recent_trades != leader.recent_trades


def test_they_stand_alone_while_a_recording_is_played() -> None:
    world = make_world(replace(SimulatorSettings(), source="playback"), START_NS)
    assert not world.markets
    assert "BTC-USD" in world.dollar_markets("-", {}, diff_streams=1)
