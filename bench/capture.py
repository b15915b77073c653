"""What capturing costs a feed: ``python -m bench.capture``.

Frames go through the real capture to a real disk: into the queue on one thread, as the event loop
does it, and from there compressed into files by the writer's thread. The two are measured apart:
the first delays the feed, the second only takes time of another core. Then the file is read back.

Frames are recorded ones where there are any (``--recorded DIR``), else those of the seeded market,
which compress a little better. Read the figures with care: one machine, other load unwanted.
"""

from __future__ import annotations

import argparse
import gzip
import platform
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from bus.capture import Decoder, Frame, Head
from bus.feeds.capture import Capture
from bus.feeds.capture_files import CaptureFiles
from bus.runtime.log import configure
from bus.simulator.binance.streams import Hub, MarketStreams
from bus.simulator.clients import Client
from bus.simulator.faults import Faults
from bus.simulator.instruments import crypto_instrument
from bus.simulator.market import SymbolMarket

FILES = ("btcusdt_20240808.gz", "btcusdt_20240809.gz")
ROUNDS = 3
STREAMS = ("trade", "bookTicker", "ticker", "depth@100ms")
START_NS = 1_723_161_253_000_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, default=Path("../shared/recorded"), metavar="DIR")
    configure("bench", "error")
    folder: Path = parser.parse_args(argv).recorded
    recorded = (folder / FILES[0]).exists()
    frames = load(folder) if recorded else make()
    size = sum(map(len, frames))
    print(
        f"{platform.platform()}, {platform.machine()}, Python {platform.python_version()}, "
        f"zlib {zlib.ZLIB_RUNTIME_VERSION}\n"
        f"{len(frames):,} {'recorded' if recorded else 'simulated'} Binance frames, "
        f"{size / len(frames):.0f} bytes each on average; best of {ROUNDS} rounds\n"
    )
    columns = ("event loop µs", "writer µs", "stored bytes", "left out")
    print(f"{'frames a read':<16}" + "".join(f"{column:>16}" for column in columns))
    for batch in (1, 5, 50):
        loop_us, writer_us, stored, dropped = min(measure(frames, batch) for _ in range(ROUNDS))
        print(f"{batch:<16}{loop_us:>16.2f}{writer_us:>16.2f}{stored:>16.1f}{dropped:>16}")
    print(f"\nread back: {read_back(frames):.2f} µs CPU a frame")
    print("µs: CPU time a captured frame; stored bytes: on the disk, a frame")
    return 0


def load(folder: Path) -> list[bytes]:
    """The recorded WebSocket frames."""
    found = []
    for name in FILES:
        with gzip.open(folder / name, "rb") as file:
            found += [line.rstrip().partition(b" ")[2] for line in file]
    return [raw for raw in found if raw.startswith(b'{"stream"')]


def make() -> list[bytes]:
    """Two minutes of a busy seeded market."""
    frames: list[bytes] = []

    class Taker:
        def push(self, message: bytes) -> bool:
            frames.append(message)
            return True

    hub = Hub(Faults())
    names = [f"btcusdt@{stream}" for stream in STREAMS]
    hub.subscribe(cast(Client, Taker()), (True, False), names)
    market = SymbolMarket(crypto_instrument("BTCUSDT"), 1, START_NS, activity=20.0)
    streams = MarketStreams([market], hub)
    for step in range(6_000):
        streams.step(START_NS + step * 20_000_000)
    return frames


def start(folder: Path) -> Capture:
    """A capture without a bound on its queue, so that nothing is left out of the measure."""
    head = Head(START_NS, 0, "bench", "binance", START_NS, 0, True)
    files = CaptureFiles(folder, head, max_bytes=1 << 34, roll_bytes=1 << 28)
    return Capture(files, max_queued_bytes=1 << 32)


def measure(frames: list[bytes], batch: int) -> tuple[float, float, float, int]:
    """µs a frame on the loop's thread and on the writer's, bytes stored a frame, frames lost."""
    folder = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        reads = [frames[start : start + batch] for start in range(0, len(frames), batch)]
        capture = start(folder)
        tap = capture.connection("bench.1", "ws://bench")
        began_all_s, began_s = time.process_time(), time.thread_time()
        for number, read in enumerate(reads):
            tap.frames(read, START_NS + number)
        loop_s = time.thread_time() - began_s
        capture.close()
        writer_s = time.process_time() - began_all_s - (time.thread_time() - began_s)
        stats = capture.stats()
    finally:
        shutil.rmtree(folder)
    count = len(frames)
    return loop_s / count * 1e6, writer_s / count * 1e6, stats.bytes_out / count, stats.dropped


def read_back(frames: list[bytes]) -> float:
    """µs a frame to decode a whole capture; checks that it is whole."""
    folder = Path(tempfile.mkdtemp(prefix="mdb-"))
    try:
        capture = start(folder)
        capture.frames(1, frames, START_NS)
        capture.close()
        data = [path.read_bytes() for path in sorted(folder.rglob("*.mdcap"))]
    finally:
        shutil.rmtree(folder)
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.process_time()
        count = 0
        for whole in data:
            decoder = Decoder()
            for at in range(0, len(whole), 65_536):
                for record in decoder.feed(whole[at : at + 65_536]):
                    count += isinstance(record, Frame)
        best_s = min(best_s, time.process_time() - began_s)
        assert count == len(frames)
    return best_s / len(frames) * 1e6


if __name__ == "__main__":
    sys.exit(main())
