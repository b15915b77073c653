"""What follows from several settings together: labels, aliases, endpoints, run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import SIMULATED_VENUE, load


def test_nothing_simulated_carries_a_venues_name() -> None:
    settings = load()
    assert {settings.venue_label(feed) for feed in settings.feeds} == {SIMULATED_VENUE}


def test_live_feeds_carry_their_venues_name() -> None:
    settings = load(None, ["mode=live", "feeds.second.venue=binance"])
    assert settings.venue_label("binance") == "binance"
    assert settings.venue_label("second") == "binance"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("BTC", ("sim", "BTC-USDT")),
        ("btcusdt", ("sim", "BTC-USDT")),
        ("eth-usdt", ("sim", "ETH-USDT")),
        ("AAPL", ("sim", "AAPL")),
        ("NOPE", None),
        ("", None),
    ],
)
def test_a_clients_symbol_resolves(name: str, found: tuple[str, str] | None) -> None:
    assert load().resolve_alias(name) == found


def test_an_alias_of_a_disabled_feed_resolves_to_nothing() -> None:
    assert load(None, ["feeds.binance.enabled=false"]).resolve_alias("BTC") is None


def test_the_run_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MDBUS_RUN_DIR", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert load().run_path.name.startswith("mdbus-")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert load().run_path == Path("/run/user/7/mdbus")
    monkeypatch.setenv("MDBUS_RUN_DIR", "/srv/bus")
    assert load().run_path == Path("/srv/bus")
    assert load(None, ["run_dir=/here"]).run_path == Path("/here")


def test_endpoints_are_ipc_in_the_run_directory_unless_set() -> None:
    settings = load(None, ["run_dir=/r", "broker.publish=tcp://127.0.0.1:5555"])
    assert settings.endpoints.publish == "tcp://127.0.0.1:5555"
    assert settings.endpoints.subscribe == "ipc:///r/subscribe.sock"


def test_a_stop_may_take_as_long_as_its_processes_unless_a_deadline_is_set() -> None:
    settings = load(None, ["bridge.max_connections=21000"])
    assert settings.stop_s == pytest.approx(3 * 5.0 + settings.bridge.stop_s)
    assert load(None, ["supervisor.stop_deadline_s=40"]).stop_s == 40.0
    assert load(None, ["supervisor.stop_grace_s=60"]).stop_s == 240.0
