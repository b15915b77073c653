"""What one message costs a feed, on recorded frames: ``python -m bench.feeds``.

Every frame of one kind goes through the real connection handler (parse, route, publish) into a
real PUB socket; a second thread takes the messages off, as the broker would, and its CPU time is
not counted. The WebSocket library's own cost is measured apart, on frames of the same bytes.

Then the same frames go through cryptofeed and ccxt, pinned and installed by this program into an
environment of their own; ``--no-peers`` leaves them out, and where they cannot be installed it says
so.

Read the figures with care: one machine, one core at a time, warm caches, no other load wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import cast

import msgspec
import zmq
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side

from bench.peers.rivals import PROGRAMS, NotHere, Rival, cache_dir, install, measure
from bus.client import Publisher
from bus.config import FeedSettings
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.parser import parse_snapshot
from bus.feeds.feed import Feed
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.status import StatusBoard
from bus.runtime.log import configure

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")
ROUNDS = 3
BATCH = 50
"""Frames handed over together, as one read of a busy socket brings them."""


EVENTS = {
    "trade": "trade",
    "bookTicker": "bookTicker",
    "depth@100ms": "depthUpdate",
    "ticker": "24hrTicker",
}
"""Stream kinds of the frames, and what the venue calls their events."""
INCLUDED = """
x: their CPU over ours without sending, the nearest to a callback that does nothing.
ours, sent   decode, check, drop repeats, apply to the book; two ticks a trade, diff or 24hrTicker
             (trades + price, depth + orderbook with the best 20 levels, ticker + price), one a
             quote; encode each and send it on a ZeroMQ socket, which another thread empties
not sent     the same up to the sending: ticks are made, then dropped
cryptofeed   its message_handler with coroutines that do nothing: decode, Decimal prices, one object
             a message, book applied, whole book handed over. Its ticker drops both sizes. It takes
             aggTrade: the recorded trades are renamed. It has no 24hrTicker
ccxt         pro's WebSocket client and handle_message: decode, float prices, one dictionary a
             message, last 1,000 trades kept, book applied, one waiting future resolved a message
nobody's figure holds the WebSocket library, the network or the waiting of a consumer"""


class _Link:
    """What the handler reads of a link."""

    last_frame_mono_ns = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 also where there is nothing recorded to measure with."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=Path("../shared/recorded"), metavar="DIR")
    parser.add_argument("--no-peers", action="store_true", help="leave the other libraries out")
    configure("bench", "error")
    given = parser.parse_args(argv)
    folder: Path = given.recorded
    if not (folder / FILES[0]).exists():
        print(f"skipped: no recorded traffic in {folder} (choose another with --recorded DIR)")
        return 0
    print(
        f"{platform.platform()}, {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}, msgspec {msgspec.__version__}, "
        f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}, websockets {version('websockets')}"
    )
    frames, snapshot = _load(folder)
    columns = ("frames", "bytes", "µs CPU/frame", "frames/s", "ticks out", "websocket µs")
    print(f"\n{'event':<12}" + "".join(f"{column:>14}" for column in columns))
    ours_us: dict[str, tuple[float, float]] = {}
    for kind, of_kind in frames.items():
        best_s, published = min(_measure(of_kind, snapshot, kind) for _ in range(ROUNDS))
        each_us = best_s / len(of_kind) * 1e6
        silent_s = min(_measure_silent(of_kind, snapshot, kind) for _ in range(ROUNDS))
        ours_us[EVENTS[kind]] = (each_us, silent_s / len(of_kind) * 1e6)
        size = sum(map(len, of_kind)) / len(of_kind)
        library_us = min(_library(of_kind) for _ in range(ROUNDS)) / len(of_kind) * 1e6
        print(
            f"{kind:<12}{len(of_kind):>14}{size:>14.0f}{each_us:>14.2f}{1e6 / each_us:>14,.0f}"
            f"{published:>14}{library_us:>14.2f}"
        )
    print("\nµs CPU/frame: the feed's own work, process time of its thread, best of 3 rounds")
    if not given.no_peers:
        _compare(frames, snapshot, ours_us)
    return 0


def _compare(
    frames: dict[str, list[bytes]], snapshot: bytes, ours_us: dict[str, tuple[float, float]]
) -> None:
    """Run the rivals on the same frames and print all beside each other."""
    found: list[Rival] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, of_kind in frames.items():
            (folder / f"{EVENTS[kind]}.lines").write_bytes(b"\n".join(of_kind) + b"\n")
        (folder / "snapshot.json").write_bytes(snapshot)
        try:
            print(
                f"\ninstalling other libraries in {cache_dir()}, unless they are there", flush=True
            )
            python = install()
        except NotHere as reason:
            print(f"other libraries cannot be installed here: {reason}")
            return
        for library in PROGRAMS:
            try:
                found.append(measure(python, library, folder, ROUNDS))
            except NotHere as reason:
                print(f"{library} cannot be measured here: {reason}")
    if not found:
        return
    names = "".join(f"{f'{rival.name} {rival.version}':>20}{'':>8}" for rival in found)
    print(f"\n{'µs CPU/frame':<14}{'ours, sent':>12}{'not sent':>10}{names}")
    for event, (sent_us, silent_us) in ours_us.items():
        cells = ""
        for rival in found:
            us = rival.cpu_us.get(event)
            cells += f"{'-':>20}{'':>8}" if us is None else f"{us:>20.2f}{us / silent_us:>7.1f}x"
        print(f"{event:<14}{sent_us:>12.2f}{silent_us:>10.2f}{cells}")
    print(f"\n{'frames/s':<14}{'ours, sent':>12}{'not sent':>10}{names}")
    for event, (sent_us, silent_us) in ours_us.items():
        rates = (rival.cpu_us.get(event) for rival in found)
        cells = "".join(f"{'-' if us is None else f'{1e6 / us:,.0f}':>20}{'':>8}" for us in rates)
        print(f"{event:<14}{1e6 / sent_us:>12,.0f}{1e6 / silent_us:>10,.0f}{cells}")
    print(INCLUDED)


def _load(folder: Path) -> tuple[dict[str, list[bytes]], bytes]:
    frames: dict[str, list[bytes]] = {
        "trade": [],
        "bookTicker": [],
        "depth@100ms": [],
        "ticker": [],
    }
    snapshot = b""
    for name in FILES:
        with gzip.open(folder / name, "rb") as file:
            for line in file:
                raw = line.strip().partition(b" ")[2]
                if raw.startswith(b'{"lastUpdateId"'):
                    snapshot = raw
                    continue
                kind = raw[: raw.index(b'"', 11)].decode().partition("@")[2]
                frames[kind].append(raw)
    frames["ticker"] = _tickers(folder)
    return {kind: of_kind for kind, of_kind in frames.items() if of_kind}, snapshot


def _tickers(folder: Path, count: int = 5_000) -> list[bytes]:
    """The few recorded 24hrTicker frames, over and over, each a millisecond younger."""
    path = folder / "frames" / "binance_spot_frames.jsonl"
    if not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        frame = json.loads(json.loads(line)["raw"])
        data = frame.get("data") if isinstance(frame, dict) else None
        spot = isinstance(data, dict) and {"b", "B"} <= data.keys()  # futures' carry no quote
        if spot and frame["stream"] == "btcusdt@ticker":
            found.append(frame)
    if not found:
        return []
    made = []
    for number in range(count):
        frame = found[number % len(found)]
        data = {**frame["data"], "E": 1_700_000_000_000 + number}
        made.append(
            json.dumps({"stream": frame["stream"], "data": data}, separators=(",", ":")).encode()
        )
    return made


def _measure(frames: list[bytes], snapshot: bytes, kind: str) -> tuple[float, int]:
    """CPU seconds of handling all frames once, and the messages published for them."""
    context = zmq.Context()
    sink = context.socket(zmq.SUB)
    sink.setsockopt(zmq.RCVHWM, 0)
    sink.bind("inproc://sink")
    for prefix in (b"md/", b"sys/"):
        sink.setsockopt(zmq.SUBSCRIBE, prefix)
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set():
            if sink.poll(20):
                while True:
                    try:
                        sink.recv(zmq.DONTWAIT)
                    except zmq.Again:
                        break

    publisher = Publisher("inproc://sink", hwm=0, context=context)
    drainer = threading.Thread(target=drain)
    drainer.start()
    try:
        deadline_s = time.monotonic() + 5
        while not publisher.stats().attached and time.monotonic() < deadline_s:
            publisher.service()
        connection = _connection(publisher)
        if kind.startswith("depth"):
            _sync(connection, frames, snapshot)
        before = publisher.stats().messages
        link = cast(Link, _Link())
        batches = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
        started_s = time.thread_time()
        for batch in batches:
            connection.frames(link, batch, 1)
        spent_s = time.thread_time() - started_s
        return spent_s, publisher.stats().messages - before
    finally:
        stop.set()
        drainer.join()
        publisher.close()
        sink.close()
        context.term()


class _Nobody:
    """Stands where a publisher and its writers are, and sends nothing."""

    def writer(self, topic: object) -> _Nobody:
        return self

    def publish(self, body: object, *, venue_ts_ns: int | None, recv_ts_ns: int) -> int:
        return 0


def _measure_silent(frames: list[bytes], snapshot: bytes, kind: str) -> float:
    """CPU seconds of handling all frames once, ticks made but not sent."""
    connection = _connection(cast(Publisher, _Nobody()))
    if kind.startswith("depth"):
        _sync(connection, frames, snapshot)
    link = cast(Link, _Link())
    batches = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
    started_s = time.thread_time()
    for batch in batches:
        connection.frames(link, batch, 1)
    return time.thread_time() - started_s


def _connection(publisher: Publisher) -> Connection:
    feed = Feed(
        name="bench",
        venue_label="sim",
        settings=FeedSettings(symbols=("BTC-USDT",)),
        publisher=publisher,
        board=StatusBoard(lambda symbol, status: None),
        stopping=asyncio.Event(),
        started=lambda: None,
    )
    return Connection(feed, [Listed("BTC-USDT", "BTCUSDT")])


def _sync(connection: Connection, frames: list[bytes], snapshot: bytes) -> None:
    """Join the recorded snapshot, so that every later diff is applied to a book of real size."""
    book = connection.instruments["BTC-USDT"].book
    book.start("bench")
    link = cast(Link, _Link())
    early = 3  # the recorded diffs before the snapshot's reply; the third bridges it
    connection.frames(link, frames[:early], 1)
    parsed = parse_snapshot(snapshot)
    if not book.on_snapshot(parsed.last_update_id, parsed.bids, parsed.asks, 1, 0):
        raise SystemExit("the recorded snapshot does not join the recorded diffs")


def _library(frames: list[bytes]) -> float:
    """CPU seconds the WebSocket library needs to take these frames apart."""
    wire = [Frame(Opcode.TEXT, frame).serialize(mask=False) for frame in frames]
    chunks = [b"".join(wire[start : start + BATCH]) for start in range(0, len(wire), BATCH)]
    protocol = Protocol(Side.CLIENT, max_size=None)
    receive: Callable[[bytes], None] = protocol.receive_data
    started_s = time.thread_time()
    for chunk in chunks:
        receive(chunk)
        protocol.events_received()
    return time.thread_time() - started_s


if __name__ == "__main__":
    sys.exit(main())
