"""status, check, start, stop and restart, asked of a running bus."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import pytest

from bus.supervision.cli import main
from bus.supervision.control_client import ask
from bus.testing import wait_until
from tests.supervision.conftest import Driven, WholeBus


def test_status_is_a_table(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("status")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()[3:]] == [
        "simulator",
        "broker",
        "feed.binance",
        "feed.finnhub",
        "bridge.1",
    ]


def test_a_healthy_bus_checks_0(whole_bus: WholeBus) -> None:
    wait_until(lambda: whole_bus.ask("check", "--data").returncode == 0, what="data is live")
    done = whole_bus.ask("check")
    assert (done.returncode, done.stdout) == (0, "healthy\n")
    checked = whole_bus.json("check", "broker")
    data = {"live": True, "feeds": []}
    assert checked == {"version": 1, "healthy": True, "problems": [], "data": data}


def test_a_venue_that_is_down_is_said_and_judged_when_asked(played_bus: Driven) -> None:
    def said(*words: str) -> tuple[int, str]:
        out = io.StringIO()
        with redirect_stdout(out):
            code = main([*words, "--run-dir", str(played_bus.run_dir)])
        return code, out.getvalue()

    def say(**verdict: str) -> None:
        ask(played_bus.run_dir, "command", name="feed.binance", command="say", arguments=verdict)

    wait_until(lambda: played_bus.status()["data"]["live"], what="both say what their data is")
    say(state="down", reason="dns_failure")
    try:
        wait_until(
            lambda: not played_bus.status()["data"]["live"], what="the heartbeat that says so"
        )
        _, table = said("status")
        assert "running, healthy, simulated; data: binance down (dns_failure)" in table
        note = "healthy; data: binance down (dns_failure), which is not judged without --data\n"
        assert said("check") == (0, note)
        why = "feed.binance: data is down (dns_failure)\n"
        assert said("check", "--data") == (1, why)
        assert said("check", "--data", "feed.finnhub") == (0, "healthy\n")
        say(state="closed", reason="market_closed")
        wait_until(lambda: said("check", "--data")[0] == 0, what="a shut market is no fault")
    finally:
        say(state="live", reason="data")


def test_a_stop_holds_and_a_start_ends_it(whole_bus: WholeBus) -> None:
    assert whole_bus.ask("stop", "feed.finnhub").stdout == "feed.finnhub: stopped\n"
    try:
        assert whole_bus.ask("check", "feed.finnhub").returncode == 1
        assert whole_bus.ask("check").returncode == 0
    finally:
        assert whole_bus.ask("start", "feed.finnhub").stdout == "feed.finnhub: ready\n"


def test_a_restart_replaces_each_named_process_once(whole_bus: WholeBus) -> None:
    def pids() -> dict[str, int]:
        return {row["name"]: row["pid"] for row in whole_bus.json("status")["processes"]}

    before = pids()
    whole_bus.json("restart", "bridge.1", "feed.binance", "bridge.1")
    after = pids()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"bridge.1", "feed.binance"}
    rows = whole_bus.json("status")["processes"]
    row = next(row for row in rows if row["name"] == "bridge.1")
    assert row["last_exit"]["code"] == 0, "drained, not killed"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "check"])
def test_an_unknown_process_is_3_with_the_nearest_name(whole_bus: WholeBus, verb: str) -> None:
    done = whole_bus.ask(verb, "feed.binanc")
    assert done.returncode == 3
    assert "did you mean feed.binance?" in done.stderr
    assert "did you mean bridge?" in whole_bus.ask(verb, "bridg").stderr
    document = json.loads(whole_bus.ask(verb, "feed.binanc", "--json").stdout)
    assert document["code"] == 3
    assert document["error"].startswith("there is no process 'feed.binanc'")


def test_a_rotation_keeps_the_process_and_says_what_it_did(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    before = played_bus.pid("feed.binance")
    words = ["restart", "--rotate", "feed.binance", "--run-dir", str(played_bus.run_dir)]
    assert main(words) == 0
    assert capsys.readouterr().out == "feed.binance: rotated: connections 2, how new before old\n"
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["processes"] == [
        {"process": "feed.binance", "result": {"connections": 2, "how": "new before old"}}
    ]
    assert played_bus.pid("feed.binance") == before


def test_a_rotation_of_what_cannot_be_rotated_does_the_others(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["bridge.1", "feed.nobody", "feed.finnhub"]
    assert main(["restart", "--rotate", *names, "--run-dir", str(played_bus.run_dir)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("feed.finnhub: rotated")
    assert "bridge.1: does not know the command 'rotate'" in captured.err
    assert "there is no process 'feed.nobody'" in captured.err


def test_bridges_are_scaled_and_told_how_to_keep_it(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--run-dir", str(played_bus.run_dir)]
    before = played_bus.pid("bridge.1")
    try:
        assert main(["scale", "bridge", "4", *where]) == 0
        out = capsys.readouterr().out
        assert "bridge.3: started" in out
        assert "bridge.workers = 4" in out
        assert played_bus.row("bridge.4")["state"] == "ready"
        assert main(["scale", "bridge", "4", *where]) == 0
        assert capsys.readouterr().out == "nothing has changed\n"
    finally:
        assert main(["scale", "bridge", "2", *where]) == 0
    assert [row["name"] for row in played_bus.status()["processes"]][-2:] == [
        "bridge.1",
        "bridge.2",
    ]
    assert played_bus.pid("bridge.1") == before, "who stays is not touched"


@pytest.mark.parametrize(
    ("name", "count", "code", "why"),
    [
        ("bridge", "0", 2, "from 1 to 64"),
        ("feed.binance", "2", 2, "only bridge"),
        ("feed", "2", 2, "only bridge"),
        ("bridges", "2", 3, "there is no process 'bridges'; did you mean bridge"),
    ],
)
def test_what_cannot_be_scaled_is_said_with_its_code(
    played_bus: Driven,
    name: str,
    count: str,
    code: int,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scale", name, count, "--run-dir", str(played_bus.run_dir)]) == code
    assert why in capsys.readouterr().err


def test_a_rotation_of_a_kind_is_of_all_its_processes(
    played_bus: Driven, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restart", "--rotate", "feed", "--run-dir", str(played_bus.run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["feed.binance", "feed.finnhub"]
