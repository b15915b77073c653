"""Recorded venue traffic through simulator, real feed handler, broker and a consumer, flat out.

The truth comes straight from the recording, read by code that shares nothing with the bus.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bus.client import Gap, SnapshotEnd, Subscriber, Update
from bus.model import Depth, OrderBook, Quote, Trade
from tests.e2e.running_bus import ROOT, free_ports

pytestmark = pytest.mark.recorded

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")
TRADES, COMPARABLE, EQUAL_AT_LEAST = 19_904, 6_492, 6_490
DEADLINE_S = 90.0

# The mistake many handlers make: changes that arrive before the snapshot's reply are thrown away,
# and the first change after it is taken to continue the snapshot.
CARELESS_FEED = """
import sys
from bus.book.sync import BookSync, SyncAction, SyncState

careful = BookSync.on_diff

def careless(self, diff):
    if self._state is SyncState.BUFFERING:
        return SyncAction.HOLD
    if self._state is SyncState.SYNCED and diff.last_id > self._id:
        self._id = diff.last_id
        return SyncAction.APPLY
    return careful(self, diff)

BookSync.on_diff = careless
from bus.feeds.__main__ import main
sys.exit(main())
"""


@dataclass
class Truth:
    """What the recording itself says."""

    trades: list[tuple[int, float, float, str, int]] = field(default_factory=list)
    quote_ids: list[int] = field(default_factory=list)
    quotes: list[tuple[float, float, float, float]] = field(default_factory=list)
    last_id: int = 0

    def quote_at(self, update_id: int) -> tuple[float, float, float, float] | None:
        """The last bookTicker with an update id not above this one."""
        at = bisect_right(self.quote_ids, update_id)
        return self.quotes[at - 1] if at else None


@dataclass
class Seen:
    """What the consumer received."""

    trades: list[tuple[int, float, float, str, int]] = field(default_factory=list)
    tops: list[tuple[int, tuple[float, float, float, float]]] = field(default_factory=list)
    quotes: int = 0
    crossed: int = 0
    gaps: list[Gap] = field(default_factory=list)
    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)
    depth_id: int = 0
    seconds: float = 0.0

    def depth(self, body: Depth) -> None:
        """Rebuild the whole book from the depth stream, as any consumer would."""
        if body.is_snapshot:
            self.bids.clear()
            self.asks.clear()
        self.depth_id = body.last_venue_seq
        for side, levels in ((self.bids, body.bids), (self.asks, body.asks)):
            for price, size in levels:
                if size == 0:
                    side.pop(price, None)
                else:
                    side[price] = size


@pytest.fixture(scope="module")
def truth(recorded_dir: Path) -> Truth:
    found = Truth()
    for name in FILES:
        with gzip.open(recorded_dir / name, "rt") as lines:
            for line in lines:
                message = json.loads(line.split(" ", 1)[1])
                data: dict[str, Any] = message.get("data", {})
                if data.get("e") == "trade":
                    found.trades.append(
                        (
                            data["t"],
                            float(data["p"]),
                            float(data["q"]),
                            "sell" if data["m"] else "buy",
                            data["T"] * 1_000_000,
                        )
                    )
                elif data.get("e") == "depthUpdate":
                    found.last_id = data["u"]
                elif message.get("stream", "").endswith("@bookTicker"):
                    found.quote_ids.append(data["u"])
                    found.quotes.append(
                        (float(data["b"]), float(data["B"]), float(data["a"]), float(data["A"]))
                    )
    assert len(found.trades) == TRADES
    return found


@pytest.fixture
def play(recorded_dir: Path, run_dir: Path, truth: Truth) -> Iterator[Callable[[list[str]], Seen]]:
    """Play the recording through real processes; the feed is started by the given command."""
    with ExitStack() as stack:
        binance, finnhub = free_ports(2)
        config = run_dir / "mdbus.toml"
        files = ", ".join(f'"{recorded_dir / name}"' for name in FILES)
        config.write_text(
            f'run_dir = "{run_dir}"\n'
            '[feeds.binance]\nsymbols = ["BTC-USDT"]\n'
            f"[simulator]\nports.binance = {binance}\nports.finnhub = {finnhub}\n"
            f'source = "playback"\nplayback_files = [{files}]\nplayback_speed = "max"\n'
        )

        def start(command: list[str], name: str) -> None:
            with (run_dir / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(
                    [*command, "--config", str(config), "--name", name],
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stderr=log,
                )

            def stop() -> None:
                process.send_signal(signal.SIGTERM)
                process.wait(15)

            stack.callback(stop)

        def run(feed: list[str]) -> Seen:
            start([sys.executable, "-m", "bus.simulator"], "simulator")
            start([sys.executable, "-m", "bus.broker"], "broker")
            subscriber = stack.enter_context(Subscriber(f"ipc://{run_dir}/subscribe.sock"))
            prefixes = [
                f"md/{stream}/sim/BTC-USDT/" for stream in ("trades", "orderbook", "depth", "quote")
            ]
            for prefix in prefixes:
                subscriber.subscribe(prefix)
            waiting = len(prefixes)
            while waiting:  # only then is the consumer certain to miss nothing
                waiting -= isinstance(subscriber.recv(20), SnapshotEnd)
            start([sys.executable, *feed], "feed.binance")
            return consume(subscriber)

        def consume(subscriber: Subscriber) -> Seen:
            seen = Seen()
            start_s = time.monotonic()
            while (
                len(seen.trades) < TRADES
                or seen.depth_id < truth.last_id
                or seen.tops[-1][0] < truth.last_id
            ):
                if time.monotonic() - start_s > DEADLINE_S:
                    break
                event = subscriber.recv(10 if seen.tops else 30)  # the simulator reads it all first
                if event is None:
                    break
                if isinstance(event, Gap):
                    seen.gaps.append(event)
                elif isinstance(event, Update):
                    take(event, seen)
            seen.seconds = time.monotonic() - start_s
            return seen

        yield run


def take(update: Update, seen: Seen) -> None:
    body = update.tick.body
    if isinstance(body, Trade):
        assert isinstance(body.trade_id, int)
        assert body.aggressor_side is not None
        assert update.tick.venue_ts_ns is not None
        seen.trades.append(
            (body.trade_id, body.price, body.size, body.aggressor_side, update.tick.venue_ts_ns)
        )
    elif isinstance(body, OrderBook):
        assert body.venue_seq is not None
        (bid, bid_size), (ask, ask_size) = body.bids[0], body.asks[0]
        seen.tops.append((body.venue_seq, (bid, bid_size, ask, ask_size)))
        seen.crossed += bid >= ask
    elif isinstance(body, Depth):
        seen.depth(body)
    elif isinstance(body, Quote):
        seen.quotes += 1


def equal_tops(seen: Seen, truth: Truth) -> tuple[int, int]:
    """How many book tops equal the recording's own last bookTicker, of how many comparable."""
    compared = [(top, truth.quote_at(update_id)) for update_id, top in seen.tops]
    known = [(top, quote) for top, quote in compared if quote is not None]
    return sum(top == quote for top, quote in known), len(known)


def test_the_recording_arrives_whole_and_right(
    play: Callable[[list[str]], Seen], truth: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = play(["-m", "bus.feeds"])
    assert seen.gaps == []
    assert len(seen.trades) == TRADES
    assert seen.trades == truth.trades  # once, in order, values equal
    equal, comparable = equal_tops(seen, truth)
    with capsys.disabled():
        print(
            f"\n  recorded: {len(seen.trades)} trades, {seen.quotes} quotes, "
            f"{equal} of {comparable} tops equal, {seen.crossed} crossed, {seen.seconds:.1f} s"
        )
    assert comparable >= COMPARABLE
    assert equal >= EQUAL_AT_LEAST
    assert seen.crossed == 0
    assert (max(seen.bids), min(seen.asks)) == (61602.01, 61602.02)
    assert (len(seen.bids), len(seen.asks)) == (1971, 2962)


def test_a_handler_that_drops_the_diffs_before_the_snapshot_fails_that_check(
    play: Callable[[list[str]], Seen], truth: Truth, tmp_path: Path
) -> None:
    script = tmp_path / "careless.py"
    script.write_text(CARELESS_FEED)
    seen = play([str(script)])
    equal, _ = equal_tops(seen, truth)
    assert equal < EQUAL_AT_LEAST or seen.crossed > 0
