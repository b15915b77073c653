"""Many symbols through one feed process, counted by a consumer: ``python -m bench.symbols``.

Simulator, broker and feed run as in production, each a process of its own; this one is a consumer
on the bus. It measures the time until every book is live, how much of the venue's REST budget
that took, and the CPU of each process under the load; then it makes the venue lose one diff of
one symbol and looks whether any other symbol missed a tick. Exit code 1 if anything was wrong.

``--depth-limit`` decides the start: a snapshot of 100 levels weighs 5, of 1,000 levels 50, and a
feed spends at most half of the 6,000 a minute that the venue allows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import psutil
import zmq

from bus.client import Gap, SnapshotEnd, Subscriber, Update
from bus.model import Depth, Status, Tick, Trade

ROOT = Path(__file__).resolve().parent.parent
LIVE_TIMEOUT_S = 900.0
HOLD_AFTER_FAULT_S = 2.0
WEIGHT_HEADER = "x-mbx-used-weight-1m"
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Load:
    """What to run. ``activity`` is the simulator's factor on every rate."""

    symbols: int
    activity: float = 0.3
    levels: int = 100
    depth_limit: int = 100
    streams_per_connection: int = 200
    hold_s: float = 10.0
    weight_per_min: int = 6_000


@dataclass
class Result:
    """What was seen. ``wrong``: every broken promise, one sentence each."""

    live_s: float = 0.0
    first_live_s: float = 0.0
    connections: int = 0
    streams: int = 0
    weight_most: int = 0
    rest_refused: int = 0
    ticks_per_s: float = 0.0
    frames_per_s: float = 0.0
    cpu_percent: dict[str, float] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    resync_s: float = 0.0
    trades_compared: int = 0
    deltas_compared: int = 0
    absorbed: int = 0
    """Times a refresh's snapshot, newer than the stream, took the place of changes on their way."""
    wrong: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Seen:
    """One symbol at the consumer."""

    state: str = ""
    states: list[str] = field(default_factory=list)
    depth_id: int = 0
    books: int = 0
    deltas: int = 0
    delta_id: int = 0
    lost: int = 0
    """Changes that do not begin where the change before them ended: a snapshot came between."""
    broken: int = 0
    """Changes that do not continue the book they follow: never allowed."""
    trade_id: int = 0
    trades: int = 0
    missed: int = 0

    def take(self, tick: Tick) -> None:
        body = tick.body
        if isinstance(body, Depth):
            if body.is_snapshot:
                self.books += 1
            else:
                self.lost += self.deltas > 0 and body.first_venue_seq != self.delta_id + 1
                self.delta_id = body.last_venue_seq
                self.deltas += 1
                self.broken += not body.first_venue_seq <= self.depth_id + 1 <= body.last_venue_seq
            self.depth_id = body.last_venue_seq
        elif isinstance(body, Trade) and isinstance(body.trade_id, int):
            self.missed += self.trades > 0 and body.trade_id != self.trade_id + 1
            self.trade_id = body.trade_id
            self.trades += 1
        elif isinstance(body, Status):
            self.state = body.state
            self.states.append(f"{body.state}/{body.reason}")


class Consumer:
    """Depth, trades and statuses of everything, from before the feed's first word."""

    def __init__(self, subscriber: Subscriber, names: Sequence[str]) -> None:
        self._subscriber = subscriber
        self.of = {name: Seen() for name in names}
        self.feed = Seen()
        self.detail = ""
        self.gaps = 0
        self.ticks = 0
        waiting = ("md/depth/", "md/trades/", "sys/status/")
        for prefix in waiting:
            subscriber.subscribe(prefix)
        for _ in waiting:  # the ends of three empty snapshots: from here on nothing is missed
            if not isinstance(subscriber.recv(10), SnapshotEnd):
                raise SystemExit("the broker does not answer")

    @property
    def live(self) -> int:
        return sum(seen.state == "live" for seen in self.of.values())

    @property
    def books(self) -> int:
        return sum(seen.books > 0 for seen in self.of.values())

    def consume(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Take what comes until the condition holds (it is asked ten times a second)."""
        deadline_s = time.monotonic() + timeout_s
        ask_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= ask_s:
                if until():
                    return True
                if now_s > deadline_s:
                    return False
                ask_s = now_s + 0.1
            event = self._subscriber.recv(0.05)
            if isinstance(event, Gap):
                self.gaps += 1
            elif isinstance(event, Update):
                self.ticks += 1
                tick = event.tick
                if tick.topic.symbol:
                    self.of[tick.topic.symbol].take(tick)
                elif isinstance(tick.body, Status):
                    self.feed.take(tick)
                    self.detail = tick.body.detail or ""


class Weight:
    """Asks the venue, once a second, how much of its REST budget this address has used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.now = 0
        self.most = 0
        self.refused = 0

    def __enter__(self) -> Weight:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._stop.is_set():
                with contextlib.suppress(httpx.HTTPError):
                    reply = client.get(f"{self._url}/api/v3/ping")
                    self.now = int(reply.headers.get(WEIGHT_HEADER, self.now))
                    self.most = max(self.most, self.now)
                    self.refused += reply.status_code in (418, 429)
                self._stop.wait(1.0)


def names(count: int) -> list[tuple[str, str]]:
    """Made-up symbols, ours and the venue's: ``S000-USDT``, ``S000USDT``."""
    return [(f"S{number:03d}-USDT", f"S{number:03d}USDT") for number in range(count)]


def measure(load: Load, say: Say = lambda line: None) -> Result:
    """Run it all, in a directory of its own. Raises SystemExit if a process does not start."""
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        return _measure(load, run_dir, say)
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)


def _measure(load: Load, run_dir: Path, say: Say) -> Result:
    result = Result()
    symbols = names(load.symbols)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    config = run_dir / "mdbus.toml"
    config.write_text(
        f'run_dir = "{run_dir}"\n'
        "[feeds.finnhub]\nenabled = false\n"
        f"[feeds.binance]\nsymbols = {[ours for ours, _ in symbols]}\n"
        f"depth_limit = {load.depth_limit}\n"
        f"streams_per_connection = {load.streams_per_connection}\n"
        f"[simulator]\nports.binance = {port}\ncrypto_symbols = {[its for _, its in symbols]}\n"
        f"activity = {load.activity}\nbook_levels = {load.levels}\n"
        f"weight_per_min = {load.weight_per_min}\n"
    )
    with contextlib.ExitStack() as stack:

        def start(package: str, name: str) -> psutil.Process:
            return stack.enter_context(_process(config, package, name))

        started_s = time.monotonic()
        processes = {"broker": start("bus.broker", "broker")}
        processes["simulator"] = start("bus.simulator", "simulator")
        _wait_for(url, run_dir)
        say(f"simulator serves {load.symbols} symbols after {time.monotonic() - started_s:.1f} s")
        subscriber = stack.enter_context(Subscriber(f"ipc://{run_dir}/subscribe.sock"))
        consumer = Consumer(subscriber, [ours for ours, _ in symbols])
        weight = stack.enter_context(Weight(url))
        processes["feed"] = start("bus.feeds", "feed.binance")
        _until_live(consumer, weight, load, result, say)
        if not result.wrong:
            _under_load(consumer, processes, url, load, result)
            _one_fault(consumer, symbols[0], url, load, result)
            _compare(consumer, symbols[0][0], result)
        result.weight_most, result.rest_refused = weight.most, weight.refused
        log = (run_dir / "feed.binance.log").read_text(errors="replace")
        result.rest_refused += log.count("all REST calls stopped")
        figures = httpx.get(f"{url}/_sim/state", trust_env=False).json()["figures"]
        result.connections = figures["binance_connections"]
        result.streams = figures["binance_streams"]
    if result.rest_refused:
        result.wrong.append(f"the venue refused REST calls {result.rest_refused} times")
    if result.weight_most > load.weight_per_min:
        result.wrong.append(f"REST weight {result.weight_most} of {load.weight_per_min} used")
    if result.streams != 4 * load.symbols:
        result.wrong.append(f"{result.streams} streams are subscribed to, not {4 * load.symbols}")
    return result


def _until_live(consumer: Consumer, weight: Weight, load: Load, result: Result, say: Say) -> None:
    started_s = last_s = time.monotonic()

    def all_live() -> bool:
        nonlocal last_s
        now_s = time.monotonic()
        live = consumer.live
        if live and not result.first_live_s:
            result.first_live_s = now_s - started_s
        done = live == load.symbols and consumer.feed.state == "live"
        if done or now_s - last_s >= 5.0:
            last_s = now_s
            say(
                f"{now_s - started_s:6.1f} s  {consumer.books:4d} books, {live:4d} live, "
                f"REST weight {weight.now:5d}; the feed says: {consumer.detail}"
            )
        return done

    if not consumer.consume(all_live, LIVE_TIMEOUT_S):
        result.wrong.append(f"only {consumer.live} symbols live after {LIVE_TIMEOUT_S:g} s")
    result.live_s = time.monotonic() - started_s


def _under_load(
    consumer: Consumer,
    processes: dict[str, psutil.Process],
    url: str,
    load: Load,
    result: Result,
) -> None:
    def sent() -> int:
        state = httpx.get(f"{url}/_sim/state", trust_env=False).json()
        count: int = state["figures"]["binance_messages_out"]
        return count

    def cpu_s(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    ticks, frames, start_s = consumer.ticks, sent(), time.monotonic()
    before = {name: cpu_s(process) for name, process in processes.items()}
    consumer.consume(lambda: False, load.hold_s)
    elapsed_s = time.monotonic() - start_s
    result.ticks_per_s = (consumer.ticks - ticks) / elapsed_s
    result.frames_per_s = (sent() - frames) / elapsed_s
    for name, process in processes.items():
        result.cpu_percent[name] = (cpu_s(process) - before[name]) / elapsed_s * 100
        result.rss_mb[name] = process.memory_info().rss / 1e6


def _one_fault(
    consumer: Consumer, hit: tuple[str, str], url: str, load: Load, result: Result
) -> None:
    seen = consumer.of[hit[0]]
    heard = len(seen.states)
    asked_s = time.monotonic()
    query = {"kind": "drop_diff", "symbol": hit[1]}
    httpx.get(f"{url}/_sim/fault", params=query, trust_env=False).raise_for_status()

    def back() -> bool:
        return len(seen.states) > heard and seen.state == "live"

    if not consumer.consume(back, 70.0):
        result.wrong.append(f"{hit[0]} was not live again: {seen.states}")
    result.resync_s = time.monotonic() - asked_s
    consumer.consume(lambda: False, HOLD_AFTER_FAULT_S)


def _compare(consumer: Consumer, hit: str, result: Result) -> None:
    wrong = result.wrong
    if consumer.gaps:
        wrong.append(f"the bus reported {consumer.gaps} gaps")
    if "recovering/gap" not in consumer.of[hit].states:
        wrong.append(f"{hit}, which lost a diff, never said so: {consumer.of[hit].states}")
    for name, seen in consumer.of.items():
        result.trades_compared += seen.trades
        result.deltas_compared += seen.deltas
        if seen.missed:
            wrong.append(f"{name}: {seen.missed} times a trade does not follow the one before")
        if seen.broken:
            wrong.append(f"{name}: {seen.broken} book changes do not continue the book")
        result.absorbed += 0 if name == hit else seen.lost
        after = seen.states[seen.states.index("live/data") + 1 :]
        if name != hit and after:
            wrong.append(f"{name}: no longer live: {after}")


@contextlib.contextmanager
def _process(config: Path, package: str, name: str) -> Iterator[psutil.Process]:
    with (config.parent / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", package, "--config", str(config), "--name", name],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_for(url: str, run_dir: Path) -> None:
    """Until simulator and broker serve."""
    deadline_s = time.monotonic() + 120
    while True:
        try:
            httpx.get(f"{url}/_sim/state", trust_env=False).raise_for_status()
            break
        except httpx.HTTPError:
            if time.monotonic() > deadline_s:
                raise SystemExit((run_dir / "simulator.log").read_text()[-2000:]) from None
            time.sleep(0.1)
    with zmq.Context() as context, context.socket(zmq.XPUB) as probe:
        probe.linger = 0
        probe.connect(f"ipc://{run_dir}/publish.sock")
        if not probe.poll(30_000):
            raise SystemExit("the broker does not serve")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a promise was broken."""
    usual = Load(500)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--symbols", type=int, default=usual.symbols, metavar="N")
    parser.add_argument("--activity", type=float, default=usual.activity, metavar="FACTOR")
    parser.add_argument("--depth-limit", type=int, default=usual.depth_limit, metavar="LEVELS")
    parser.add_argument("--streams-per-connection", type=int, metavar="N",
                        default=usual.streams_per_connection)  # fmt: skip
    parser.add_argument("--hold-s", type=float, default=usual.hold_s, metavar="SECONDS")
    parser.add_argument("--json", action="store_true", help="print the result as JSON, last")
    given = parser.parse_args(argv)
    load = Load(
        given.symbols,
        activity=given.activity,
        depth_limit=given.depth_limit,
        streams_per_connection=given.streams_per_connection,
        hold_s=given.hold_s,
    )
    print(
        f"{platform.platform()}, {psutil.cpu_count()} cores, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f} before the start\n{load}\n"
    )
    result = measure(load, lambda line: print(line, flush=True))
    print(
        f"\nall {load.symbols} books live    {result.live_s:.1f} s after the feed's start "
        f"(the first: {result.first_live_s:.1f} s)\n"
        f"connections          {result.connections}, {result.streams} streams\n"
        f"REST weight          at most {result.weight_most} a minute of {load.weight_per_min}, "
        f"{result.rest_refused} refusals\n"
        f"load                 {result.frames_per_s:,.0f} frames/s from the venue; this consumer "
        f"took {result.ticks_per_s:,.0f} ticks/s (depth, trades)"
    )
    for name, percent in result.cpu_percent.items():
        print(f"  {name:<18} {percent:5.1f} % of a core, {result.rss_mb[name]:.0f} MB")
    print(
        f"one diff lost        that symbol live again after {result.resync_s:.2f} s; of the "
        f"{load.symbols - 1} others {result.trades_compared:,} trades and "
        f"{result.deltas_compared:,} book changes were compared\n"
        f"                     ({result.absorbed} times the newer snapshot of a refresh, not the "
        "fault, took the place of changes)"
    )
    for line in result.wrong[:20]:
        print(f"WRONG: {line}")
    if given.json:
        print(json.dumps(asdict(result)))
        return 1 if result.wrong else 0
    print("nothing missed" if not result.wrong else f"{len(result.wrong)} promises broken")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
