"""What a change of settings asks for, without a process in sight."""

from __future__ import annotations

import pytest

from bus.config import Settings, load
from bus.config.render import known_keys
from bus.supervision.plan import plan
from bus.supervision.settings_diff import (
    Change,
    SymbolChange,
    _flat,
    consequences,
    differences,
    keep_ports,
)

OLD = load(None, ["bridge.workers=2"])
EVERYBODY = frozenset(spec.name for spec in plan(OLD))
BRIDGES = frozenset({"bridge.1", "bridge.2"})


def after(*overrides: str) -> Settings:
    return load(None, ["bridge.workers=2", *overrides])


def test_the_same_settings_ask_for_nothing() -> None:
    found = consequences(OLD, after())
    assert not found.changes
    assert not found.replaced | found.started | found.stopped | found.informed


@pytest.mark.parametrize(
    ("override", "replaced"),
    [
        ("broker.send_hwm=7000", {"broker"}),
        ("broker.publish=tcp://127.0.0.1:5555", EVERYBODY - {"simulator"}),
        ("bridge.port=9", BRIDGES),
        ("simulator.seed=1", {"simulator"}),
        ("simulator.host=127.0.0.2", {"simulator", "feed.binance", "feed.finnhub"}),
        ("simulator.ports.finnhub=9", {"simulator", "feed.finnhub"}),
        ("feeds.binance.retry_cap_s=9", {"feed.binance"}),
        ("supervisor.hang_timeout_s=9", set()),
        ("log_level=debug", set()),
        ("aliases.X=BTC-USDT@binance", set()),
    ],
)
def test_only_whom_it_concerns_is_replaced(override: str, replaced: set[str]) -> None:
    found = consequences(OLD, after(override))
    assert found.replaced == replaced
    assert not found.started | found.stopped


def test_another_number_of_bridges_starts_or_stops_some() -> None:
    assert consequences(OLD, after("bridge.workers=3")).started == {"bridge.3"}
    fewer = consequences(OLD, after("bridge.workers=1"))
    assert fewer.stopped == {"bridge.2"}
    assert not fewer.replaced


def test_a_feed_that_is_switched_on_or_off_starts_or_stops() -> None:
    off = after("feeds.finnhub.enabled=false")
    assert consequences(OLD, off).stopped == {"feed.finnhub"}
    assert consequences(OLD, off).informed == BRIDGES
    on = consequences(off, OLD)
    assert on.started == {"feed.finnhub"}
    assert on.replaced == {"simulator"}, "it serves the venues of the feeds that are on"


def test_live_and_simulated_are_two_worlds() -> None:
    live = consequences(OLD, after("mode=live"))
    assert live.stopped == {"simulator"}
    assert live.replaced == EVERYBODY - {"simulator"}


def test_symbols_alone_are_told_and_not_restarted() -> None:
    found = consequences(OLD, after('feeds.binance.symbols=["BTC-USDT", "DOGE-USDT"]'))
    assert not found.replaced
    assert found.symbols == {
        "binance": SymbolChange(("DOGE-USDT",), ("ETH-USDT", "SOL-USDT")),
    }
    assert found.informed == BRIDGES


def test_symbols_and_more_are_a_restart() -> None:
    wanted = after('feeds.binance.symbols=["BTC-USDT"]', "feeds.binance.retry_cap_s=9")
    found = consequences(OLD, wanted)
    assert found.replaced == {"feed.binance"}
    assert not found.symbols


def test_changes_name_key_old_and_new() -> None:
    assert differences(OLD, after("bridge.port=9", "simulator.ports.kraken=7")) == (
        Change("bridge.port", 8000, 9),
        Change("simulator.ports.kraken", 8014, 7),
    )


def test_every_setting_is_compared() -> None:
    filled = after('bridge.ttl_s={"price.BTC"=5}', 'bridge.access.keys={main="env:KEY"}')
    flat = {key for key, _ in _flat(filled)}
    for key in known_keys():
        assert key in flat or any(each.startswith(f"{key}.") for each in flat), key


def test_a_port_left_to_chance_stays_as_it_is() -> None:
    running = after("bridge.port=9001", "simulator.ports.binance=9002", "run_dir=/run/x")
    wanted = keep_ports(after("bridge.port=0", "simulator.ports.binance=0"), running)
    assert not differences(running, wanted)
    moved = keep_ports(after("bridge.port=9003"), running)
    assert moved.bridge.port == 9003
