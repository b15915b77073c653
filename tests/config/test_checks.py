"""Settings that do not go together, found on values as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bus.config import Settings
from bus.config.access import TierSettings
from bus.config.checks import check_together, nearest


def found_in(settings: Settings) -> dict[str, str]:
    found: dict[str, str] = {}

    def problem(key: str, message: str, hint: str = "") -> None:
        found[key] = f"{message} ({hint})"

    check_together(settings, problem)
    return found


def test_the_defaults_go_together() -> None:
    assert found_in(Settings()) == {}


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        ({"host": "0.0.0.0"}, "bridge.host", "no authentication"),
        ({"ttl_s": {"price": 3.0}}, "bridge.ttl_s.price", "stream.SYMBOL"),
        ({"ttl_s": {"price.BTC": 0.0}}, "bridge.ttl_s.price.BTC", "below the least"),
        (
            {"tiers": {"free": TierSettings(1, 1, 1, topics=("*.BTC", "prize.*"))}},
            "bridge.tiers.free.topics",
            "'prize.*' means no topics (patterns are e.g. price.*",
        ),
    ],
)
def test_a_contradiction_is_told_by_its_key(
    change: dict[str, object], key: str, words: str
) -> None:
    settings = Settings()
    bridge = replace(settings.bridge, **change)  # type: ignore[arg-type]
    found = found_in(replace(settings, bridge=bridge))
    assert list(found) == [key]
    assert words in found[key]


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://0.0.0.0:5556", "off loopback"),
        ("ftp://x", "only ipc://"),
        ("tcp://127.0.0.1:*", "a port is needed"),
    ],
)
def test_an_endpoint_that_nobody_could_use_is_refused(endpoint: str, words: str) -> None:
    settings = Settings()
    found = found_in(replace(settings, broker=replace(settings.broker, subscribe=endpoint)))
    assert list(found) == ["broker.subscribe"]
    assert words in found["broker.subscribe"]


def test_a_stop_that_would_cut_off_clients_is_refused() -> None:
    settings = Settings()
    supervisor = replace(settings.supervisor, stop_deadline_s=1.0)
    found = found_in(replace(settings, supervisor=supervisor))
    assert list(found) == ["supervisor.stop_deadline_s"]


def test_a_word_is_near_to_what_was_meant() -> None:
    assert nearest("Binanc", ["binance", "kraken"], "feeds.") == "did you mean feeds.binance?"
    assert nearest("zzz", ["binance"]) == ""
