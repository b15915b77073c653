"""New settings for a running bus: only what changed is touched, and bad ones change nothing."""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.config import load
from bus.errors import ConfigError
from bus.supervision.control_client import RefusedError, ask
from bus.supervision.origin import Origin
from bus.supervision.reload import changed_keys
from bus.supervision.reload import reload as reload_settings
from bus.supervision.settings_diff import Change
from bus.supervision.supervisor import Supervisor
from tests.supervision.conftest import Driven


@pytest.fixture(scope="module")
def bus() -> Iterator[Driven]:
    """A bus of its own: these tests leave it with other settings than they found."""
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    driven = Driven(run_dir, [])
    write(driven, "[bridge]\nworkers = 2\n")
    yield driven.up()
    driven.signal(signal.SIGTERM)
    assert driven.wait_end() == 0
    assert not driven.living()
    shutil.rmtree(run_dir)


def write(bus: Driven, text: str) -> None:
    (bus.run_dir / "mdbus.toml").write_text(text)


def reload(bus: Driven, **words: Any) -> dict[str, Any]:
    answer: dict[str, Any] = ask(bus.run_dir, "reload", wait_s=30, **words)
    return answer


def pids(bus: Driven) -> dict[str, int | None]:
    return {row["name"]: row["pid"] for row in bus.status()["processes"]}


def touched(bus: Driven, before: dict[str, int | None]) -> set[str]:
    after = pids(bus)
    return {name for name in before | after if before.get(name) != after.get(name)}


BASE = "[bridge]\nworkers = 2\n"


def test_nothing_changed_does_nothing(bus: Driven) -> None:
    write(bus, BASE)
    reload(bus)
    before = pids(bus)
    answer = reload(bus)
    assert (answer["changes"], answer["steps"], answer["applied"]) == ([], [], False)
    assert not touched(bus, before)


def test_changed_symbols_reach_the_running_feed(bus: Driven) -> None:
    before = pids(bus)
    write(bus, BASE + '[feeds.binance]\nsymbols = ["BTC-USDT", "DOGE-USDT", "NO-USDT"]\n')
    answer = reload(bus)
    listed = ask(bus.run_dir, "command", name="feed.binance", command="list_symbols", wait_s=5)
    assert listed["result"]["symbols"] == ["BTC-USDT", "DOGE-USDT"]
    assert [each["symbol"] for each in answer["refused"]] == ["NO-USDT"]
    assert not answer["ok"], "a symbol was refused"
    assert touched(bus, before) == {"bridge.2"}, "which cannot be told; bridge.1 was"
    assert {(step["process"], step["action"]) for step in answer["steps"]} == {
        ("feed.binance", "changed symbols"),
        ("bridge.1", "told the new settings"),
        ("bridge.2", "restarted"),
    }


def test_a_changed_process_is_replaced_and_no_other(bus: Driven) -> None:
    write(bus, BASE)
    reload(bus)
    before = pids(bus)
    write(bus, BASE + "[feeds.finnhub]\nretry_cap_s = 7.0\n")
    dry = reload(bus, dry_run=True)
    assert not dry["applied"]
    assert {"process": "feed.finnhub", "action": "restart", "note": ""} in dry["steps"]
    assert not touched(bus, before), "a dry run touches nothing"
    assert reload(bus)["ok"]
    assert touched(bus, before) == {"feed.finnhub", "bridge.2"}
    assert load(bus.run_dir / "effective.toml").feeds["finnhub"].retry_cap_s == 7.0


def test_feeds_and_bridges_come_and_go(bus: Driven) -> None:
    port = load(bus.run_dir / "effective.toml").bridge.port
    write(bus, "[bridge]\nworkers = 3\n[feeds.finnhub]\nenabled = false\n")
    assert reload(bus)["ok"]
    assert set(pids(bus)) == {"feed.binance", "bridge.1", "bridge.2", "bridge.3"}
    assert bus.row("bridge.3")["state"] == "ready"
    assert load(bus.run_dir / "effective.toml").bridge.port == port, "left to chance, so kept"
    write(bus, BASE)
    assert reload(bus)["ok"]
    assert set(pids(bus)) == {"feed.binance", "feed.finnhub", "bridge.1", "bridge.2"}
    assert ask(bus.run_dir, "check")["healthy"]


def test_bad_settings_are_all_told_and_change_nothing(bus: Driven) -> None:
    before = pids(bus)
    write(bus, "[bridge]\nworkers = 0\nhorst = 1\n")
    with pytest.raises(RefusedError) as refused:
        reload(bus)
    assert refused.value.exit_code == 2
    problems = str(refused.value).splitlines()
    assert len(problems) == 2
    assert all("mdbus.toml: bridge." in problem for problem in problems)
    assert not touched(bus, before)
    write(bus, BASE)


def test_a_busy_port_changes_nothing(bus: Driven) -> None:
    write(bus, BASE)
    reload(bus)
    before = pids(bus)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        port = other.getsockname()[1]
        write(bus, BASE + f'[broker]\npublish = "tcp://127.0.0.1:{port}"\n')
        with pytest.raises(RefusedError, match=f"port {port} .* --set broker.publish="):
            reload(bus)
    assert not touched(bus, before)
    assert load(bus.run_dir / "effective.toml").broker.publish == ""
    write(bus, BASE)


def test_the_event_names_what_differs_as_far_as_a_line_goes() -> None:
    changes = tuple(Change(f"k{number}", 0, 1) for number in range(8))
    assert changed_keys(changes[:2]) == "k0, k1"
    assert changed_keys(changes) == "k0, k1, k2, k3, k4, k5 and 2 more"


async def test_another_run_directory_is_another_bus(run_dir: Path) -> None:
    file = run_dir / "mdbus.toml"
    file.write_text(f'run_dir = "{run_dir}"\n')
    origin = Origin(file)
    supervisor = Supervisor(origin.read(), origin=origin)
    assert not (await reload_settings(supervisor, dry_run=True, timeout_s=1))["changes"]
    file.write_text('run_dir = "/elsewhere"\n')
    with pytest.raises(ConfigError, match="cannot change while the bus runs"):
        await reload_settings(supervisor, dry_run=True, timeout_s=1)


async def test_settings_that_came_from_nowhere_cannot_be_read_again(run_dir: Path) -> None:
    supervisor = Supervisor(load(None, [f"run_dir={run_dir}"]))
    with pytest.raises(ConfigError, match="not started from settings"):
        await reload_settings(supervisor, dry_run=True, timeout_s=1)


def test_what_the_operator_stopped_stays_stopped(bus: Driven) -> None:
    write(bus, BASE)
    reload(bus)
    ask(bus.run_dir, "stop", names=["feed.finnhub"], wait_s=10)
    write(bus, BASE + "[feeds.finnhub]\nretry_cap_s = 6.0\n")
    answer = reload(bus)
    assert {"feed.finnhub": "left stopped"}.items() <= {
        step["process"]: step["action"] for step in answer["steps"]
    }.items()
    assert bus.row("feed.finnhub")["state"] == "stopped"
    ask(bus.run_dir, "start", names=["feed.finnhub"], wait_s=10)


def test_settings_of_the_supervisor_and_the_log_level_touch_nobody(bus: Driven) -> None:
    write(bus, BASE)
    reload(bus)
    before = pids(bus)
    write(bus, 'log_level = "debug"\n' + BASE + "[supervisor]\nlog_files = 5\n")
    answer = reload(bus)
    assert not touched(bus, before)
    assert {step["process"] for step in answer["steps"]} == set(before)
    assert {step["action"] for step in answer["steps"]} == {"logs at level debug"}
