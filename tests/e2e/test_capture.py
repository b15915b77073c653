"""A feed captured on a bad day and played again: every tick the same; and captures of killed feeds.

Real processes throughout. What is compared is what a consumer of the broker gets: of each topic all
messages, in order, their bodies byte for byte, and the venue's times; not epoch, receive and
publish times, which are the run's own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from bus.capture import Closed, Cut, Decoder, Exchange, Frame, Head, Record, Sent
from bus.testing import wait_until
from tests.e2e.running_bus import ROOT, free_ports
from tests.feeds.captured import capture_files, read_captured
from tests.stalls import Stalls

Message = tuple[int | None, bytes]
"""The venue's time, and the body."""

BUSY_TICKS = 4_000
VENUES = ("binance", "finnhub", "coinbase", "kraken")


class Consumer:
    """Everything under ``md/``, by topic, as a plain SUB socket gets it."""

    def __init__(self, endpoint: str) -> None:
        self.topics: dict[str, list[Message]] = defaultdict(list)
        self.seqs: dict[str, list[int]] = defaultdict(list)
        self.count = 0
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, 100)
        self._socket.connect(endpoint)
        self._socket.subscribe(b"md/")
        self._socket.subscribe(b"snapshot/here/md/")
        self._here = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        wait_until(self._here.is_set, 20, "the subscription at the broker")

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                frame = self._socket.recv()
            except zmq.Again:
                continue
            topic, _, payload = frame.partition(b"\0")
            if topic.startswith(b"snapshot/"):
                self._here.set()
                continue
            _, _, seq, venue_ts_ns, _, _, *body = msgpack.unpackb(payload)
            name = topic.decode()
            self.topics[name].append((venue_ts_ns, msgpack.packb(body)))
            self.seqs[name].append(seq)
            self.count += 1
        self._socket.close(0)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def books(self, symbol: str) -> int:
        """Whole books published of a symbol."""
        depth = self.topics.get(f"md/depth/sim/{symbol}/", [])
        return sum(bool(msgpack.unpackb(body)[4]) for _, body in depth)

    def has_every_trade(self, symbol: str) -> bool:
        """Whether none is missing between the first and the last, and none came twice."""
        told = list(self.topics.get(f"md/trades/sim/{symbol}/", []))
        ids = sorted(msgpack.unpackb(body)[3] for _, body in told)
        return bool(ids) and ids == list(range(ids[0], ids[0] + len(ids)))


class Bus:
    """Simulator, broker, one consumer and one feed, in a run directory of its own."""

    def __init__(self, stack: ExitStack, feed: str, extra: str) -> None:
        self._stack = stack
        self.feed = feed
        self.run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
        stack.callback(shutil.rmtree, self.run_dir, ignore_errors=True)
        ports = dict(zip(VENUES, free_ports(len(VENUES)), strict=True))
        self.port = ports[feed]
        off = [name for name in ("binance", "finnhub") if name != feed]  # the default profile
        self.config = self.run_dir / "mdbus.toml"
        self.config.write_text(
            f'run_dir = "{self.run_dir}"\n'
            + "".join(f"[feeds.{name}]\nenabled = false\n" for name in off)
            + f"{extra}\n[simulator.ports]\n"
            + "".join(f"{venue} = {port}\n" for venue, port in ports.items())
        )
        self._start("broker", "-m", "bus.broker")
        self._start("simulator", "-m", "bus.simulator")
        self.consumer = Consumer(f"ipc://{self.run_dir}/subscribe.sock")
        stack.callback(self.consumer.close)
        wait_until(lambda: self.ask("/_sim/nothing") is not None, 20, "the simulator")
        self.process = self._start(f"feed.{feed}", "-m", "bus.feeds")

    def _start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.run_dir / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *words, "--config", str(self.config), "--name", name],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stderr=log,
            )
        self._stack.callback(end, process)
        return process

    def ask(self, path: str) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as reply:
                answer: dict[str, Any] = json.load(reply)
                return answer
        except urllib.error.HTTPError as error:
            refusal: dict[str, Any] = json.load(error)
            return refusal
        except OSError:
            return None

    def fault(self, query: str) -> None:
        answer = self.ask(f"/_sim/fault?{query}")
        assert answer is not None
        assert answer.get("ok"), answer

    def replayed(self) -> dict[str, Any]:
        return self.ask("/_sim/playback") or {}

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-2_000:]}"
            for path in sorted(self.run_dir.glob("*.log"))
        )


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def make_bus() -> Iterator[Callable[[str, str], Bus]]:
    with ExitStack() as stack:
        yield lambda feed, extra: Bus(stack, feed, extra)


def play_again(make_bus: Callable[[str, str], Bus], live: Bus, settings: str, folder: Path) -> Bus:
    """Play the captures under ``folder`` flat out, to the end, all ticks received."""
    files = ", ".join(f'"{path}"' for path in capture_files(folder))
    replay = make_bus(
        live.feed,
        f"{settings}\n"
        f'[simulator]\nsource = "playback"\nplayback_files = [{files}]\nplayback_speed = "max"\n',
    )
    wait_until(lambda: replay.replayed().get("complete_runs"), 60, "the end of the capture")
    wanted = live.consumer.count
    with suppress(AssertionError):  # if not, the comparison says which tick is not the same
        wait_until(lambda: replay.consumer.count >= wanted, 10, "every tick")
    return replay


def assert_the_same(live: Bus, replay: Bus) -> None:
    assert set(replay.consumer.topics) == set(live.consumer.topics)
    for topic, captured in sorted(live.consumer.topics.items()):
        for bus in (live, replay):  # the consumer missed nothing, so the comparison is whole
            seqs = bus.consumer.seqs[topic]
            assert seqs == list(range(1, len(seqs) + 1)), topic
        again = replay.consumer.topics[topic]
        assert difference(captured, again) == "", f"{topic}\n{replay.replayed()}\n{replay.logs()}"


def difference(captured: list[Message], again: list[Message]) -> str:
    """Where two sequences part, in words; "" when they are the same."""
    for number, (one, other) in enumerate(zip(captured, again, strict=False)):
        if one != other:
            shown = [f"{at} {msgpack.unpackb(body)!s:.300}" for at, body in (one, other)]
            return f"message {number} of {len(captured)}: {shown[0]} became {shown[1]}"
    if len(captured) != len(again):
        return f"{len(captured)} messages became {len(again)}"
    return ""


def test_a_bad_day_at_binance_played_again_gives_every_tick_again(
    make_bus: Callable[[str, str], Bus], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (
        '[feeds.binance]\nsymbols = ["BTC-USDT", "ETH-USDT"]\n'
        "streams_per_connection = 4\nstale_depth_s = 60\n"  # a connection for each symbol
    )
    live = make_bus(
        "binance",
        f'{settings}capture = true\ncapture_dir = "{tmp_path}"\ncapture_roll_bytes = 65_536\n'
        "[simulator]\nactivity = 20.0\n",
    )
    seen = live.consumer
    wait_until(lambda: seen.books("BTC-USDT") and seen.books("ETH-USDT"), 30, "both books")
    live.fault("kind=drop_diff&symbol=BTCUSDT")
    wait_until(lambda: seen.books("BTC-USDT") >= 2, 20, "the book after the gap")
    live.fault("kind=abort")
    wait_until(
        lambda: seen.books("BTC-USDT") >= 3 and seen.books("ETH-USDT") >= 2, 20, "reconnection"
    )
    live.fault("kind=close&code=1012&reason=restart")
    wait_until(lambda: seen.books("ETH-USDT") >= 3, 20, "reconnection after a close frame")
    live.fault("kind=repeat_diff&symbol=ETHUSDT")
    live.fault("kind=drop_trade&symbol=BTCUSDT&count=3")
    live.fault("kind=garbage")
    live.fault("kind=server_shutdown")
    wait_until(
        lambda: sum(isinstance(r, Closed) and r.reason == "left" for r in captured(tmp_path)) == 2,
        30,
        "both connections replaced",
    )
    wait_until(lambda: seen.count >= BUSY_TICKS, 30, "a busy market")
    for symbol in ("BTC-USDT", "ETH-USDT"):
        wait_until(lambda symbol=symbol: seen.has_every_trade(symbol), 20, f"{symbol} trades")  # type: ignore[misc]
    end(live.process)
    asked = [r for r in captured(tmp_path) if isinstance(r, Exchange) and r.status == 200]
    assert {r.path for r in asked} >= {"/api/v3/depth", "/api/v3/trades"}

    started_s = time.monotonic()
    replay = play_again(make_bus, live, settings, tmp_path / "binance")
    seconds = time.monotonic() - started_s
    assert_the_same(live, replay)
    state = replay.replayed()
    passed_over = [state[f"playback_not_{what}"] for what in ("taken", "asked", "said")]
    assert passed_over == [0, 0, 0], replay.logs()
    with capsys.disabled():
        print(
            f"\n  {seen.count} ticks of {len(seen.topics)} topics again, from "
            f"{state['playback_sent']} frames and {state['playback_answered']} answers in "
            f"{len(capture_files(tmp_path))} files, {seconds:.1f} s"
        )


def captured(folder: Path) -> list[Record]:
    """What is in the files by now; the last block may be half written."""
    found: list[Record] = []
    for path in capture_files(folder):
        decoder = Decoder()
        found += [*decoder.feed(path.read_bytes()), *decoder.finish()]
    return found


def test_finnhub_with_its_polls_played_again_gives_every_tick_again(
    make_bus: Callable[[str, str], Bus], tmp_path: Path
) -> None:
    settings = '[feeds.finnhub]\nsymbols = ["AAPL", "MSFT"]\nnews_poll_s = 2\n'
    live = make_bus(
        "finnhub",
        f'{settings}capture = true\ncapture_dir = "{tmp_path}"\n'
        "[simulator]\nactivity = 30.0\nnews_interval_s = 0.3\n",
    )
    seen = live.consumer
    trades = seen.topics["md/trades/sim/AAPL/"]
    wait_until(lambda: len(trades) > 50, 30, "trades")
    live.fault("kind=abort")
    before = len(trades)
    wait_until(lambda: len(trades) > before + 50, 30, "trades after the reconnection")
    polls = "/api/v1/news"
    wait_until(
        lambda: sum(isinstance(r, Exchange) and r.path == polls for r in captured(tmp_path)) >= 8,
        30,
        "two polls of each category",
    )
    end(live.process)

    replay = play_again(make_bus, live, settings, tmp_path / "finnhub")
    assert_the_same(live, replay)
    assert any(topic.startswith("md/news/") for topic in seen.topics)
    secret = b"simulated"  # the key the feed gives to the simulator
    kept = [r for r in read_captured(tmp_path) if isinstance(r, Sent | Exchange)]
    assert not any(secret in (r.message if isinstance(r, Sent) else r.body) for r in kept)


@pytest.mark.parametrize(
    ("venue", "symbol", "venue_symbol"),
    [("coinbase", "BTC-USD", "BTC-USD"), ("kraken", "ETH-USD", "ETH/USD")],
)
def test_a_venue_whose_books_come_on_the_socket_gives_every_tick_again(
    make_bus: Callable[[str, str], Bus], tmp_path: Path, venue: str, symbol: str, venue_symbol: str
) -> None:
    settings = f'[feeds.{venue}]\nvenue = "{venue}"\nsymbols = ["{symbol}"]\n'
    live = make_bus(
        venue,
        f'{settings}capture = true\ncapture_dir = "{tmp_path}"\n[simulator]\nactivity = 20.0\n',
    )
    seen = live.consumer
    wait_until(lambda: seen.books(symbol), 30, "the book")
    live.fault(f"kind=drop_diff&symbol={venue_symbol}")
    busy = seen.count + 500
    wait_until(lambda: seen.count >= busy, 30, "traffic after the lost diff")
    before = seen.books(symbol)
    live.fault("kind=abort")
    wait_until(lambda: seen.books(symbol) > before, 30, "the book after the reconnection")
    busy = seen.count + 500
    wait_until(lambda: seen.count >= busy, 30, "traffic after it")
    end(live.process)

    replay = play_again(make_bus, live, settings, tmp_path / venue)
    assert_the_same(live, replay)


def test_a_killed_feed_has_lost_at_most_its_last_second(
    make_bus: Callable[[str, str], Bus], tmp_path: Path
) -> None:
    live = make_bus(
        "binance",
        f'[feeds.binance]\nsymbols = ["BTC-USDT"]\ncapture = true\ncapture_dir = "{tmp_path}"\n'
        "[simulator]\nactivity = 20.0\n",
    )
    consumed = live.consumer.topics["md/trades/sim/BTC-USDT/"]
    with Stalls() as stalls:
        began_s = time.monotonic()
        wait_until(
            lambda: consumed and time.time_ns() - (consumed[0][0] or 0) > 3_000_000_000,
            30,
            "three seconds of trades",
        )
        killed_ns = time.time_ns()
        live.process.kill()
        last_s = 1 + stalls.allowance_s(began_s)
    live.process.wait(10)
    (path,) = capture_files(tmp_path)
    decoder = Decoder()
    found = [*decoder.feed(path.read_bytes()), *decoder.finish()]
    assert isinstance(found[0], Head)
    frames = [record for record in found if isinstance(record, Frame)]
    assert (killed_ns - frames[-1].time_ns) / 1e9 < last_s
    assert all(isinstance(cut, Cut) and cut.why for cut in decoder.cuts)
    # and whatever the consumer had got by a second before is there to be played again
    trades = sum(b"@trade" in frame.payload for frame in frames)
    early = [at for at, _ in consumed if at is not None and at < killed_ns - last_s * 1e9]
    assert trades >= len(early)
    assert early or last_s > 2, "the machine had no time for the feed"
