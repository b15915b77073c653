"""Which processes follow from the settings, and in which order."""

from __future__ import annotations

import importlib.util

from bus.config import load
from bus.supervision.plan import imports, layers, patience, plan


def test_the_default_bus_has_its_six_processes_in_order() -> None:
    assert [spec.name for spec in plan(load())] == [
        "simulator",
        "broker",
        "feed.binance",
        "feed.finnhub",
        "bridge.1",
        "bridge.2",
    ]


def test_a_live_bus_has_no_simulator() -> None:
    assert "simulator" not in [spec.name for spec in plan(load(None, ["mode=live"]))]


def test_a_disabled_feed_does_not_run() -> None:
    settings = load(None, ["feeds.finnhub.enabled=false"])
    assert [spec.feed for spec in plan(settings) if spec.kind == "feed"] == ["binance"]


def test_every_worker_has_a_slot_of_its_own() -> None:
    slots = [spec.slot for spec in plan(load(None, ["bridge.workers=4"])) if spec.kind == "bridge"]
    assert slots == [0, 1, 2, 3]


def test_a_bridge_has_the_time_that_its_clients_need_to_leave() -> None:
    settings = load(None, ["bridge.max_connections=10000"])
    graces_s = {s.kind: patience(settings, s).stop_grace_s for s in plan(settings)}
    assert graces_s["feed"] == graces_s["broker"] == settings.supervisor.stop_grace_s
    assert graces_s["bridge"] == settings.bridge.stop_s > 10_000 / 200
    longer = load(None, ["supervisor.stop_grace_s=100"])
    assert {patience(longer, s).stop_grace_s for s in plan(longer)} == {100.0}


def test_layers_start_from_the_market_to_the_browser() -> None:
    kinds = [{spec.kind for spec in layer} for layer in layers(plan(load()))]
    assert kinds == [{"simulator"}, {"broker"}, {"feed"}, {"bridge"}]


def test_every_process_finds_its_code_imported() -> None:
    live = imports(load(None, ["mode=live", "feeds.finnhub.enabled=false"]))
    assert {"bus.broker.__main__", "bus.feeds.__main__", "bus.wsbridge.__main__"} < {*live}
    assert "bus.feeds.binance.venue" in live
    assert not [name for name in live if "finnhub" in name or "simulator" in name]
    embedded = imports(load())
    assert {"bus.simulator.__main__", "bus.simulator.binance.server"} < {*embedded}
    for name in embedded:
        assert importlib.util.find_spec(name) is not None, name
