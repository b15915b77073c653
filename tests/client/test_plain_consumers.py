"""The programs in docs/consumers.md, as they stand there, against a real broker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.client import Publisher
from bus.model import Price, Quote, Status, Topic, Trade
from bus.model.tick import FeedState
from bus.testing import wait_until
from tests.broker.frames import PRICE, TRADES
from tests.broker.serving import ServingBroker

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "consumers.md").read_text(encoding="utf-8")
PROGRAMS = {
    name: text
    for text, name in re.findall(
        r"^```(?:python|js)\n((?:#|//) consumer: (\S+)\n.*?)^```$", PAGE, re.DOTALL | re.MULTILINE
    )
}
NODE_PACKAGES = ("zeromq@6", "@msgpack/msgpack@3")


def test_the_page_has_its_programs() -> None:
    assert set(PROGRAMS) == {
        "live.py", "live.mjs", "snapshot.py", "snapshot.mjs", "fresh.py", "client.py",
    }  # fmt: skip


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages the Node programs need, installed once into a directory for temporary files."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js or npm is not installed")
    home = Path(tempfile.gettempdir()) / f"mdbus-node-{os.getuid()}"
    modules = home / "node_modules"
    if not (modules / "zeromq").exists() or not (modules / "@msgpack" / "msgpack").exists():
        home.mkdir(mode=0o700, exist_ok=True)
        (home / "package.json").write_text("{}")
        try:
            installed = subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", *NODE_PACKAGES],
                cwd=home,
                capture_output=True,
                text=True,
                timeout=60,
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm install did not end within a minute (no registry?)")
        if installed.returncode:
            pytest.skip(f"npm cannot install {NODE_PACKAGES}: {installed.stderr[-200:]}")
    usable = subprocess.run(
        ["node", "-e", "require('zeromq')"], cwd=home, capture_output=True, text=True
    )
    if usable.returncode:
        pytest.skip(f"the zeromq package does not load here: {usable.stderr[-200:]}")
    return modules


class Running:
    """A consumer program, and what it printed so far."""

    def __init__(self, name: str, endpoint: str, directory: Path, *words: str) -> None:
        program = directory / name
        program.write_text(PROGRAMS[name], encoding="utf-8")
        self.printed = directory / f"{name}.out"
        command = ["node"] if name.endswith(".mjs") else [sys.executable]
        with self.printed.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, str(program), endpoint, *words], cwd=ROOT, stdout=output, stderr=output,
                env=dict(os.environ, PYTHONPATH=str(ROOT)),
            )  # fmt: skip

    def lines(self) -> list[str]:
        assert self.process.poll() is None, self.printed.read_text()
        return self.printed.read_text().splitlines()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def publisher(broker: ServingBroker) -> Iterator[Publisher]:
    with Publisher(broker.publish) as made:
        wait_until(made.service)
        yield made


def start(name: str, broker: ServingBroker, request: pytest.FixtureRequest) -> Running:
    if name.endswith(".mjs"):
        modules: Path = request.getfixturevalue("node_modules")
        link = broker.run_dir / "node_modules"
        if not link.exists():
            link.symlink_to(modules)
    return Running(name, broker.subscribe, broker.run_dir)


@pytest.mark.parametrize("name", ["live.py", "live.mjs", "client.py"])
def test_a_program_prints_trades(
    name: str, broker: ServingBroker, publisher: Publisher, request: pytest.FixtureRequest
) -> None:
    writer = publisher.writer(TRADES)
    running = start(name, broker, request)

    def printed() -> list[str]:
        writer.publish(Trade(61602.01, 0.5, "buy", 7), venue_ts_ns=None, recv_ts_ns=1)
        return running.lines()

    try:
        lines = wait_until(printed, 15, f"{name} to print a trade")
    finally:
        running.end()
    topic, seq, price, *_ = lines[0].split()
    assert topic == TRADES.name
    assert int(seq) >= 1
    assert float(price) == 61602.01


@pytest.mark.parametrize("name", ["snapshot.py", "snapshot.mjs"])
def test_a_program_prints_last_values_then_live_each_once(
    name: str, broker: ServingBroker, publisher: Publisher, request: pytest.FixtureRequest
) -> None:
    other = Topic.md("price", "sim", "ETH-USDT")
    for topic, value in ((PRICE, 5.5), (PRICE, 6.5), (other, 7.5)):
        publisher.writer(topic).publish(Price(value), venue_ts_ns=None, recv_ts_ns=1)
    running = start(name, broker, request)
    try:
        wait_until(lambda: len(running.lines()) == 2, 15, f"{name} to print the snapshot")
        publisher.writer(PRICE).publish(Price(8.5), venue_ts_ns=None, recv_ts_ns=1)
        lines = wait_until(lambda: running.lines()[2:] and running.lines())
    finally:
        running.end()
    assert [line.split()[:3] for line in lines] == [
        [PRICE.name, "2", "6.5"],
        [other.name, "1", "7.5"],
        [PRICE.name, "3", "8.5"],
    ]


def test_a_value_is_usable_while_its_symbol_is_live_and_it_is_young(
    broker: ServingBroker, publisher: Publisher
) -> None:
    quotes = publisher.writer(Topic.md("quote", "sim", "BTC-USDT"))
    status = publisher.writer(Topic.status("binance", "BTC-USDT"))
    words = ("binance", "sim", "BTC-USDT", "1.5")
    running = Running("fresh.py", broker.subscribe, broker.run_dir, *words)

    def is_said(what: str, quote: bool) -> bool:
        if quote:
            quotes.publish(Quote(1.0, 1.0, 2.0, 1.0), venue_ts_ns=None, recv_ts_ns=1)
        lines = running.lines()
        return bool(lines) and lines[-1] == f"BTC-USDT {what}"

    def say(state: FeedState) -> None:
        status.publish(Status(state, "test", 1), venue_ts_ns=None, recv_ts_ns=1)

    try:
        wait_until(lambda: is_said("not usable: unknown", quote=True), 15)
        say("live")
        wait_until(lambda: is_said("usable", quote=True), 15)
        say("stale")
        wait_until(lambda: is_said("not usable: stale", quote=True), 15)
        say("live")
        wait_until(lambda: is_said("usable", quote=True), 15)
        wait_until(lambda: is_said("not usable: live", quote=False), 15, "silence to count")
    finally:
        running.end()
