"""A feed as a real process: found by its settings, quiet about mistakes, drained on SIGTERM."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from bus.config import Settings, load
from bus.errors import ConfigError
from bus.feeds.process import (
    LoopLag,
    bases,
    feed_name,
    find_venue,
    shared_path,
    status_publisher,
    venues,
)
from bus.feeds.shared_file import default_directory
from bus.model import Status
from bus.testing import eventually, wait_until
from bus.wire.codec import decode_frame
from tests.feeds.tap import Tap

ROOT = Path(__file__).resolve().parents[2]


def test_the_name_of_the_process_names_the_feed() -> None:
    assert feed_name("feed.binance", Settings()) == "binance"
    with pytest.raises(ConfigError, match=r"there is no feed 'kraken'.*known: feed\.binance"):
        feed_name("feed.kraken", Settings())


def test_venues_are_the_packages_that_are_there() -> None:
    assert venues() == ["binance", "coinbase", "finnhub", "kraken"]
    assert callable(find_venue("binance", "feeds.binance.venue"))
    with pytest.raises(ConfigError, match="known: binance, coinbase, finnhub, kraken"):
        find_venue("session", "feeds.x.venue")  # a module, not a venue


def test_a_venue_dropped_in_is_found_without_touching_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "newvenue"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "venue.py").write_text("def create(feed):\n    return feed\n")
    import bus.feeds

    monkeypatch.setattr(bus.feeds, "__path__", [*bus.feeds.__path__, str(tmp_path)])
    assert "newvenue" in venues()
    marker = object()
    assert find_venue("newvenue", "feeds.x.venue")(marker) is marker  # type: ignore[arg-type]


def test_every_venue_folder_has_the_same_core_files() -> None:
    core = {
        "connection.py",
        "endpoints.py",
        "instrument_feed.py",
        "parser.py",
        "symbols.py",
        "venue.py",
    }
    for venue in venues():
        assert core <= {path.name for path in (ROOT / "bus" / "feeds" / venue).iterdir()}


def test_the_generic_layer_names_no_venue() -> None:
    """Docstrings may give examples; names, imports and texts of the code may not."""
    for path in (ROOT / "bus" / "feeds").glob("*.py"):
        code = ast.unparse(_without_docstrings(ast.parse(path.read_text(encoding="utf-8"))))
        assert not [venue for venue in venues() if venue in code.lower()], path.name


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                one
                for one in node.body
                if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
            ] or [ast.Pass()]
    return tree


def test_embedded_feeds_speak_to_the_simulator_and_live_ones_to_the_venue() -> None:
    embedded = load(None, ["simulator.ports.binance=19011"])
    assert bases(embedded, "binance") == ("ws://127.0.0.1:19011", "http://127.0.0.1:19011")
    live = load(None, ["mode=live"])
    assert bases(live, "binance") == ("", "")
    other = load(None, ["mode=live", 'feeds.binance.ws_url="wss://x"'])
    assert bases(other, "binance") == ("wss://x", "")


def test_a_venue_the_simulator_does_not_speak_is_told() -> None:
    settings = load(None, ["feeds.new.venue=newvenue"])
    with pytest.raises(ConfigError, match="the simulator does not speak newvenue"):
        bases(settings, "new")


def test_statuses_go_to_their_topics_and_an_impossible_one_is_survived() -> None:
    tap = Tap()
    publish = status_publisher(tap.as_publisher(), "binance")
    publish("", Status("live", "data", 1))
    publish("BTC-USDT", Status("stale", "silent", 1))
    assert [m.topic for m in tap.messages] == [
        "sys/status/binance/",
        "sys/status/binance/BTC-USDT/",
    ]


async def test_the_lag_of_the_loop_is_measured(loop_kind: str) -> None:
    lag = LoopLag()
    lag.start()
    worst = 0.0

    def late() -> bool:
        nonlocal worst
        asyncio.get_running_loop().call_soon(lambda: sum(range(3_000_000)))  # blocks a while
        worst = max(worst, lag.take_ms())
        return worst > 1

    await eventually(late)
    lag.stop()


@pytest.fixture
def start(run_dir: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a feed with some settings; killed at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def run(name: str, *lines: str) -> subprocess.Popen[str]:
        config = run_dir / "mdbus.toml"
        config.write_text("\n".join([f'run_dir = "{run_dir}"', *lines]) + "\n")
        process = subprocess.Popen(
            [sys.executable, "-m", "bus.feeds", "--config", str(config), "--name", name],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "FINNHUB_API_KEY"},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=10)


def test_a_feed_that_does_not_exist_is_one_clear_line(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("feed.kraken")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 78
    assert "there is no feed 'kraken'" in errors
    assert "Traceback" not in errors


def test_a_missing_key_is_one_clear_line(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start("feed.finnhub", 'mode = "live"')
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 78
    assert "set FINNHUB_API_KEY" in errors
    assert "Traceback" not in errors


def test_a_feed_without_its_venue_serves_says_so_and_leaves_on_sigterm(
    start: Callable[..., subprocess.Popen[str]], run_dir: Path, free_port: Callable[[], int]
) -> None:
    context = zmq.Context()
    broker = context.socket(zmq.SUB)  # stands where the broker takes publishers
    broker.linger = 0
    broker.bind(f"ipc://{run_dir}/publish.sock")
    for prefix in (b"md/", b"sys/"):
        broker.setsockopt(zmq.SUBSCRIBE, prefix)
    process = start("feed.binance", "[simulator]", f"ports.binance = {free_port()}")
    seen: list[tuple[str, str]] = []

    def state_seen(topic: str, state: str) -> Callable[[], bool]:
        def look() -> bool:
            while broker.poll(0):
                tick = decode_frame(broker.recv())
                assert isinstance(tick.body, Status)
                seen.append((tick.topic.name, tick.body.state))
            return (topic, state) in seen

        return look

    try:
        wait_until(state_seen("sys/status/binance/", "down"), 20)
        assert ("sys/status/binance/BTC-USDT/", "connecting") in seen
        process.send_signal(signal.SIGTERM)
        wait_until(state_seen("sys/status/binance/BTC-USDT/", "closed"), 10)
        assert process.wait(10) == 0
    finally:
        broker.close()
        context.term()


def test_feeds_share_what_their_address_may_ask_for_and_simulated_ones_keep_to_their_bus(
    tmp_path: Path,
) -> None:
    simulated = Settings(run_dir=str(tmp_path))
    assert shared_path(simulated, "binance") == tmp_path / "shared"
    live = load(None, ["mode=live"])
    assert shared_path(live, "binance") == shared_path(live, "finnhub") == default_directory()
    chosen = load(None, ["mode=live", f"feeds.binance.shared_dir={tmp_path}"])
    assert shared_path(chosen, "binance") == tmp_path
