"""tail, get and topics, asked of a running bus."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from bus.errors import ConfigError
from bus.supervision.data_verbs import checked_prefix
from bus.testing import wait_until
from tests.supervision.conftest import ROOT, WholeBus


def test_tail_prints_lines_and_stops_after_its_count(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("tail", "md/trades/sim/BTC-USDT", "--count", "3", "--timeout", "20")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[1:4] for line in lines] == [["sim", "BTC-USDT", "trades"]] * 3


def test_tail_as_json_is_one_object_a_line_in_order(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("tail", "md/depth/sim/BTC-USDT/", "--json", "-c", "5", "--timeout", "20")
    ticks = [json.loads(line) for line in done.stdout.splitlines()]
    seqs = [tick["seq"] for tick in ticks]
    assert seqs == list(range(seqs[0], seqs[0] + 5))
    assert {tick["kind"] for tick in ticks} == {"live"}


def test_a_state_comes_at_once_and_history_on_request(whole_bus: WholeBus) -> None:
    first = whole_bus.ask("tail", "md/price/", "--json", "-c", "1", "--timeout", "20")
    assert json.loads(first.stdout)["kind"] == "snapshot"
    kept = whole_bus.ask("tail", "md/news/", "--history", "--json", "-c", "1", "--timeout", "20")
    assert json.loads(kept.stdout)["topic"].startswith("md/news/sim/")


def test_too_few_in_time_is_5(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("tail", "md/price/sim/NONE/", "--count", "1", "--timeout", "0.3")
    assert done.returncode == 5
    assert "0 of 1" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGPIPE])
def test_tail_ends_quietly(whole_bus: WholeBus, number: signal.Signals) -> None:
    out = whole_bus.run_dir / "tail"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "supervisor.py"), "tail", "md/quote/"],
            env=whole_bus.environment,
            stdout=subprocess.PIPE if number == signal.SIGPIPE else file,
            stderr=subprocess.PIPE,
            text=True,
        )
    if number == signal.SIGPIPE:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.stdout.close()
    else:
        wait_until(lambda: out.read_text(), 20)
        process.send_signal(number)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(10) == (0 if number == signal.SIGPIPE else 130)
    process.stderr.close()


def test_get_gives_the_last_value(whole_bus: WholeBus) -> None:
    tick = whole_bus.json("get", "md/price/sim/BTC-USDT/")
    assert tick["topic"] == "md/price/sim/BTC-USDT/"
    assert tick["body"]["price"] > 0
    trade = whole_bus.json("get", "md/trades/sim/BTC-USDT")
    assert trade["seq"] >= 1, "of an event topic, the newest"


def test_get_of_what_is_not_there_is_1(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("get", "md/price/sim/NONE/")
    assert done.returncode == 1
    assert "mdbus topics" in done.stderr


def test_topics_lists_the_cache(whole_bus: WholeBus) -> None:
    rows = {row["topic"]: row for row in whole_bus.json("topics")["topics"]}
    assert rows["md/price/sim/BTC-USDT/"]["kind"] == "state"
    assert rows["md/price/sim/BTC-USDT/"]["cached"] == 1
    assert rows["md/trades/sim/BTC-USDT/"]["kind"] == "event"
    assert "sys/status/binance/" in rows
    only = whole_bus.ask("topics", "md/quote/").stdout.splitlines()
    assert only[0].split()[0] == "TOPIC"
    assert len(only) == 4
    assert all(line.startswith("md/quote/sim/") for line in only[1:])


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("md", "md/"), ("md/price", "md/price/"), ("sys/status/", "sys/status/")],
)
def test_a_missing_slash_is_added(text: str, prefix: str) -> None:
    assert checked_prefix(text) == prefix


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("md/trade", "did you mean trades?"),
        ("md/xyz", "there are price, quote"),
        ("sys/trades", "there are status"),
        ("news", "e.g. md/price/"),
        ("md/a b", "e.g. md/price/"),
    ],
)
def test_a_prefix_no_topic_has_is_explained(text: str, hint: str) -> None:
    with pytest.raises(ConfigError, match="prefix") as wrong:
        checked_prefix(text)
    assert hint in str(wrong.value)


def test_what_was_kept_is_told_from_what_is_live(whole_bus: WholeBus) -> None:
    lines = whole_bus.ask(
        "tail", "md/price/", "--count", "12", "--timeout", "20"
    ).stdout.splitlines()
    assert lines.count("-- that was kept, this is live") == 1
    at = lines.index("-- that was kept, this is live")
    assert 0 < at < len(lines) - 1, lines
    bare = whole_bus.ask("tail", "md/price/", "-c", "3", "--no-snapshot", "--timeout", "20").stdout
    assert "--" not in bare


def test_a_bare_symbol_is_no_topic(whole_bus: WholeBus) -> None:
    done = whole_bus.ask("get", "BTC")
    assert done.returncode == 2
    assert done.stderr.startswith("mdbus: topic: BTC: a topic begins with md/")
    assert "mdbus topics" in done.stderr
