"""Loading: every problem at once, each with file, key and the nearest known key."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config import Settings, load
from bus.config.render import known_keys
from bus.errors import ConfigError


def problems(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    return str(caught.value)


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "mdbus.toml"


def test_no_file_means_the_defaults() -> None:
    assert load() == Settings()


def test_an_empty_file_means_the_defaults(toml: Path) -> None:
    toml.write_text("")
    assert load(toml) == Settings()


def test_values_of_a_file_are_taken(toml: Path) -> None:
    toml.write_text(
        'mode = "live"\n[bridge]\nport = 9000\n[feeds.binance]\nsymbols = ["BTC-USDT"]\n'
    )
    settings = load(toml)
    assert settings.mode == "live"
    assert settings.bridge.port == 9000
    assert settings.feeds["binance"].symbols == ("BTC-USDT",)
    assert settings.feeds["finnhub"] == Settings().feeds["finnhub"]


def test_overrides_win_over_the_file_and_later_ones_over_earlier(toml: Path) -> None:
    toml.write_text("[bridge]\nport = 9000\n")
    assert load(toml, ["bridge.port=9001", "bridge.port=9002"]).bridge.port == 9002


def test_aliases_of_a_file_add_to_the_default_ones(toml: Path) -> None:
    toml.write_text('[aliases]\nXBT = "BTC-USDT@binance"\n')
    aliases = load(toml).aliases
    assert aliases["XBT"] == aliases["BTC"] == "BTC-USDT@binance"


def test_a_bare_word_of_an_override_is_a_string() -> None:
    assert load(None, ["mode=live"]).mode == "live"


def test_every_problem_is_reported_at_once_with_file_and_key(toml: Path) -> None:
    toml.write_text(
        'mod = "live"\nlog_level = 3\n[bridge]\nprot = 1\nport = "a"\nworkers = 0\n'
        "[feeds.binanec]\nsymbols = []\n[feeds.finnhub]\nsymbols = [1]\n"
    )
    text = problems(toml, "bridge.hots=x")
    assert f"{toml}: mod: unknown setting (did you mean mode?)" in text
    assert f"{toml}: log_level: must be a string, not an integer: 3" in text
    assert f"{toml}: bridge.prot: unknown setting (did you mean bridge.port?)" in text
    assert f"{toml}: bridge.port: must be an integer, not a string: 'a'" in text
    assert "bridge.workers: 0 is below the least, 1 processes" in text
    assert "feeds.binanec: unknown setting (did you mean feeds.binance?)" in text
    assert "feeds.finnhub.symbols: must be a list, each item a string" in text
    assert "--set bridge.hots=x: bridge.hots: unknown setting (did you mean bridge.host?)" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("mode = ", "not valid TOML"),
        ("mode = true", "must be a string, not a boolean: true"),
        ('mode = "liev"', "must be one of embedded, live (did you mean live?)"),
        ("bridge = 1", "bridge: is a table of settings, not an integer"),
        ("[bridge]\nport = 70000", "70000 is above the most, 65535"),
        ("[feeds]\nbinance = 1", "feeds.binance: is a table of settings"),
        ("[aliases]\nXRP = 'XRP-USDT'", 'not of the form "SYMBOL@feed"'),
        ("[aliases]\nxrp = 'binance'", 'for example XRP = "XRP-USDT@binance"'),
        ("[aliases]\nC = 'AAPL'", 'for example C = "AAPL@finnhub"'),
        ("[aliases]\nXRP = 'XRP-USDT@binanc'", "did you mean binance?"),
        ("[aliases]\nxrp = 'XRP-USDT@binance'", "aliases are upper case"),
        ("[simulator]\nports.binance = 8000", "port 8000 is taken by bridge.port"),
        ("[simulator]\nports.binance = 80000", "simulator.ports.binance: 80000 is no port"),
        ("[simulator]\nports.binance = '8011'", "ports.binance: must be an integer"),
    ],
)
def test_a_wrong_value_says_what_is_expected(toml: Path, content: str, said: str) -> None:
    toml.write_text(content)
    assert said in problems(toml)


def test_a_port_may_be_taken_by_a_venue_that_is_not_served(toml: Path) -> None:
    toml.write_text("[bridge]\nport = 8013\n")
    assert load(toml).simulated_ports == {"binance": 8011, "finnhub": 8012}


SAME_SYMBOL = """
[feeds.coinbase]
venue = "coinbase"
symbols = ["BTC-USD", "ETH-USD"]
[feeds.kraken]
venue = "kraken"
symbols = ["BTC-USD"]
"""


def test_feeds_whose_simulated_topics_would_be_the_same_are_refused(toml: Path) -> None:
    toml.write_text(SAME_SYMBOL)
    said = problems(toml)
    assert "feeds.kraken.symbols: sim/BTC-USD is published by the feed 'coinbase' already" in said
    assert "choose other symbols" in said
    assert 'mode = "live"' in said


@pytest.mark.parametrize("changed", ["mode=live", "feeds.kraken.enabled=false"])
def test_the_same_symbol_is_fine_under_different_labels_or_switched_off(
    toml: Path, changed: str
) -> None:
    toml.write_text(SAME_SYMBOL)
    assert load(toml, [changed]).feeds["kraken"].symbols == ("BTC-USD",)


def test_two_feeds_of_one_venue_must_not_share_symbols_or_news(toml: Path) -> None:
    toml.write_text(
        'mode = "live"\n[feeds.second]\nvenue = "finnhub"\nsymbols = ["AAPL"]\n'
        'news_categories = ["crypto"]\n'
    )
    said = problems(toml)
    assert "finnhub/AAPL is published by the feed 'finnhub' already" in said
    assert "news/finnhub/crypto is published by the feed 'finnhub' already" in said
    assert "or use mode" not in said


def test_a_wrong_entry_of_a_table_is_named_with_whoever_wrote_it(toml: Path) -> None:
    toml.write_text("[simulator.ports]\nfinnhub = 'y'\n")
    text = problems(toml, "simulator.ports.binance=x")
    assert "--set simulator.ports.binance=x: simulator.ports.binance: must be an integer" in text
    assert f"{toml}: simulator.ports.finnhub: must be an integer" in text


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    assert "no such file (write one with: mdbus config init)" in problems(tmp_path / "no.toml")


def test_a_directory_or_binary_file_is_refused(tmp_path: Path, toml: Path) -> None:
    assert "is a directory" in problems(tmp_path)
    toml.write_bytes(b"\xff\xfe")
    assert "not UTF-8 at byte 0" in problems(toml)


@pytest.mark.parametrize("override", ["port", "=1", "a..b=1", ".=1"])
def test_an_override_that_is_no_assignment_is_refused(override: str) -> None:
    assert "not of the form key=value" in problems(None, override)


def test_an_override_through_a_value_is_refused() -> None:
    assert "mode is a value, not a table" in problems(None, "mode=live", "mode.x=1")


@given(st.sampled_from(known_keys()), st.integers() | st.text() | st.booleans() | st.floats())
def test_any_value_for_any_key_is_taken_or_refused_clearly(key: str, value: object) -> None:
    refused: ConfigError | None = None
    try:
        assert isinstance(load(None, [f"{key}={value!r}"]), Settings)
    except ConfigError as error:
        refused = error
    assert refused is None or all(key in str(problem) for problem in refused.problems)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ('bridge.access.algorithms=["none"]', "item 1 is 'none'"),
        ('bridge.access.algorithms=["HS256", "hs512"]', "'hs512' (algorithms are HS256"),
        ("bridge.access.algorithms=[]", "no token could ever be accepted"),
        ("bridge.access.default_tier=fre", "did you mean free"),
        ('bridge.limits.trusted_proxies=["10.0.0.0/8", "10.0.0.1/8"]', "'10.0.0.1/8' is neither"),
        ("bridge.tiers.pro.connetions=1", "did you mean bridge.tiers.pro.connections"),
        ("bridge.tiers.gold=1", "is a table of settings, not an integer"),
        ("bridge.tiers.gold.connections=0", "0 is below the least, 1"),
        ("bridge.auth=jwt2", "must be one of"),
        ("bridge.admin.port=7999", "the workers' ports reach 8000"),
        ("supervisor.stop_deadline_s=20", "20 s would cut off clients"),
        ("supervisor.stop_deadline_s=37", "takes up to 37.5 s to close them"),
        ("bridge.admin.port=65535", "the last of 2 workers would have 65536"),
    ],
)
def test_settings_of_access_that_make_no_sense_are_refused(override: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load(None, [override])


def test_tiers_add_to_the_default_ones() -> None:
    tiers = load(None, ["bridge.tiers.gold.connections=7", "bridge.tiers.pro.connections=6"])
    assert {name: tier.connections for name, tier in tiers.bridge.tiers.items()} == {
        "free": 1, "basic": 3, "pro": 6, "enterprise": 10, "gold": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('"price.NOPE" = 5', "no enabled feed serves 'NOPE'"),
        ('"depth.BTC" = 5', "is not of the form"),
        ('"price" = 5', "is not of the form"),
        ('"price.BTC" = 0', "below the least"),
        ('"price.BTC" = "long"', "must be"),
    ],
)
def test_a_ttl_names_a_topic_that_is_there(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "mdbus.toml"
    path.write_text(f"[bridge.ttl_s]\n{entry}\n")
    with pytest.raises(ConfigError, match=message):
        load(path, [])


def test_ttls_of_symbols_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mdbus.toml"
    path.write_text('[bridge.ttl_s]\n"price.AAPL" = 900\n"orderbook.btc" = 2.5\n')
    assert load(path, []).bridge.ttl_s == {"price.AAPL": 900.0, "orderbook.btc": 2.5}


def test_what_is_prepared_covers_every_section() -> None:
    code = (
        "from bus.config.load import _hints, load, prepare\n"
        "prepare()\n"
        "before = _hints.cache_info().misses\n"
        "load(None, ['feeds.binance.enabled=true', 'bridge.limits.connections_per_ip=9',\n"
        "    'broker.publish=\"\"', 'simulator.seed=1', 'supervisor.spares=1'])\n"
        "print(before > 5, _hints.cache_info().misses - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True 0\n", done.stderr


def test_listening_off_loopback_needs_to_be_asked_for() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "desk.example"):
        with pytest.raises(ConfigError, match=r"bridge\.host.*no authentication"):
            load(None, [f"bridge.host={host}"])
        for auth in ("none", "jwt"):
            assert load(None, [f"bridge.host={host}", f"bridge.auth={auth}"]).bridge.host == host
        with pytest.raises(ConfigError, match=r"bridge\.admin\.host.*no token"):
            load(None, [f"bridge.admin.host={host}"])
        load(None, [f"bridge.admin.host={host}", "bridge.admin.token=env:TOKEN"])
        load(None, [f"bridge.admin.host={host}", "bridge.admin.enabled=false"])
    for host in ("127.0.0.1", "::1", "localhost"):
        load(None, [f"bridge.host={host}", f"bridge.admin.host={host}"])


def test_the_same_text_is_read_once_and_a_changed_one_anew(toml: Path) -> None:
    toml.write_text("[bridge]\nworkers = 2\n")
    first = load(toml)
    assert load(toml) is first
    assert load(toml, ["bridge.workers=3"]).bridge.workers == 3
    toml.write_text("[bridge]\nworkers = 4\n")
    assert load(toml).bridge.workers == 4
    toml.write_text("[bridge]\nworkers = 'x'\n")
    for _ in range(2):
        assert "bridge.workers" in problems(toml), "and what is wrong is told each time"
