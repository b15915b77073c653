"""What one message costs a feed, on recorded frames: ``python -m bench.feeds``.

Every frame of one kind goes through the real connection handler (parse, route, publish) into a
real PUB socket; a second thread takes the messages off, as the broker would, and its CPU time is
not counted. The WebSocket library's own cost is measured apart, on frames of the same bytes.

Read the figures with care: one machine, one core at a time, warm caches, no other load wanted.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import platform
import sys
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

from bus.client import Publisher
from bus.config import FeedSettings
from bus.feeds.binance.connection import Connection
from bus.feeds.binance.parser import parse_snapshot
from bus.feeds.binance.symbols import Instrument
from bus.feeds.feed import Feed
from bus.feeds.link import Link
from bus.feeds.status import StatusBoard
from bus.runtime.log import configure

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")
ROUNDS = 3
BATCH = 50
"""Frames handed over together, as one read of a busy socket brings them."""


class _Link:
    """What the handler reads of a link."""

    last_frame_mono_ns = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 0 also where there is nothing recorded to measure with."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=Path("../shared/recorded"), metavar="DIR")
    configure("bench", "error")
    folder: Path = parser.parse_args(argv).recorded
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
    for kind, of_kind in frames.items():
        best_s, published = min(_measure(of_kind, snapshot, kind) for _ in range(ROUNDS))
        each_us = best_s / len(of_kind) * 1e6
        size = sum(map(len, of_kind)) / len(of_kind)
        library_us = min(_library(of_kind) for _ in range(ROUNDS)) / len(of_kind) * 1e6
        print(
            f"{kind:<12}{len(of_kind):>14}{size:>14.0f}{each_us:>14.2f}{1e6 / each_us:>14,.0f}"
            f"{published:>14}{library_us:>14.2f}"
        )
    print("\nµs CPU/frame: the feed's own work, process time of its thread, best of 3 rounds")
    return 0


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
    return Connection(feed, [Instrument("BTC-USDT", "BTCUSDT")])


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
