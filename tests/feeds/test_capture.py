"""The capture of a feed: what reaches the file, what never does, and that the feed never waits."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import bus.feeds
from bus.capture import Closed, Exchange, Frame, Head, Hole, Opened, Sent
from bus.config import FeedSettings
from bus.feeds.capture import Capture, capture_folder, start_capture
from bus.feeds.capture_files import CaptureFiles
from bus.feeds.errors import RestError
from bus.feeds.feed import Feed
from bus.feeds.rest import RestClient
from bus.feeds.session import Session, SessionSettings
from bus.testing import eventually, wait_until
from tests.feeds.captured import capture_files, read_captured, read_file
from tests.feeds.fake_venue import fake_venue, ok
from tests.feeds.tap import Statuses, Tap, make_feed
from tests.feeds.test_session import SECRET, Handler
from tests.stalls import Stalls

HEAD = Head(1, 0, "test", "binance", 1, 0, True)


class GatedFiles(CaptureFiles):
    """Files on a disk that a test can stop or break."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, HEAD, max_bytes=1 << 30, roll_bytes=1 << 30)
        self.gate = threading.Event()
        self.gate.set()
        self.stopped_at_gate = threading.Event()
        self.broken: OSError | None = None

    def write(self, raw: bytes, now_ns: int) -> None:
        if not self.gate.is_set():
            self.stopped_at_gate.set()
        self.gate.wait(20)
        if self.broken is not None:
            raise self.broken
        super().write(raw, now_ns)


@pytest.fixture
def files(tmp_path: Path) -> GatedFiles:
    return GatedFiles(tmp_path)


@pytest.fixture
def capture(files: GatedFiles) -> Iterator[Capture]:
    capture = Capture(files)
    yield capture
    files.gate.set()
    capture.close()


def test_records_are_kept_in_the_order_of_the_calls(capture: Capture, tmp_path: Path) -> None:
    tap = capture.connection("test.1", "ws://venue/stream")
    tap.sent("SUBSCRIBE")
    tap.frames([b"one", b"two"], 17)
    capture.exchange("/depth", {"limit": 5}, 200, {"Retry-After": "1", "Date": "x"}, b"{}", 18)
    tap.frames([b"three"], 19)
    tap.closed(1006, left=False)
    tap.closed(1000, left=True)  # a second time: says nothing
    capture.close()
    opened, sent, *rest, closed = read_captured(tmp_path)
    assert isinstance(opened, Opened)
    assert (opened.name, opened.url, opened.successor) == ("test.1", "ws://venue/stream", False)
    assert isinstance(sent, Sent)
    assert sent.message == b"SUBSCRIBE"
    assert rest == [
        Frame(17, 1, b"one"),
        Frame(17, 1, b"two"),
        Exchange(18, 0, "/depth", {"limit": "5"}, 200, {"Retry-After": "1"}, b"{}"),
        Frame(19, 1, b"three"),
    ]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.reason) == (1006, "closed")
    stats = capture.stats()
    assert (stats.records, stats.dropped, stats.files, stats.queued_bytes) == (7, 0, 1, 0)
    assert stats.bytes_out == capture_files(tmp_path)[0].stat().st_size


def test_a_second_connection_of_a_session_is_a_successor(capture: Capture, tmp_path: Path) -> None:
    first = capture.connection("test.1", "ws://v")
    capture.connection("test.2", "ws://v")
    capture.connection("test.1", "ws://v")
    first.closed(1000, left=True)
    capture.close()
    opened = [record for record in read_captured(tmp_path) if isinstance(record, Opened)]
    assert [(one.connection, one.successor) for one in opened] == [
        (1, False),
        (2, False),
        (3, True),
    ]


def test_a_record_is_on_the_disk_within_a_second(capture: Capture, tmp_path: Path) -> None:
    with Stalls() as stalls:
        began_s = time.monotonic()
        capture.connection("test.1", "ws://v").frames([b"soon"], 1)
        # A file is there, empty, a moment before its first block is.
        wait_until(lambda: [path.stat().st_size for path in capture_files(tmp_path)] > [0], 15)
        wait_until(lambda: len(read_file(capture_files(tmp_path)[0])) == 3, 15)
        assert time.monotonic() - began_s < 1 + stalls.allowance_s(began_s)


def test_a_full_queue_leaves_out_the_newest_and_says_so(files: GatedFiles, tmp_path: Path) -> None:
    capture = Capture(files, max_queued_bytes=1_000, clock=lambda: 99)
    files.gate.clear()
    tap = capture.connection("test.1", "ws://v")
    wait_until(files.stopped_at_gate.is_set, 5)
    tap.frames([b"a" * 900], 1)
    tap.frames([b"b" * 900, b"c"], 2)  # no room: both are left out together
    tap.frames([b"d" * 900], 3)
    assert capture.stats().dropped == 3
    assert capture.stats().queue_high_water <= 1_000
    files.gate.set()
    wait_until(lambda: capture.stats().queued_bytes == 0, 5)
    tap.frames([b"e"], 4)
    capture.close()
    _, first, hole, last = read_captured(tmp_path)
    assert first == Frame(1, 1, b"a" * 900)
    size = 17 * 3 + 900 + 1 + 900
    assert hole == Hole(99, 0, 3, size, "the queue was full")
    assert last == Frame(4, 1, b"e")


def test_a_disk_that_refuses_costs_records_and_not_the_feed(
    files: GatedFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.feeds.capture.RETRY_NS", 0)
    capture = Capture(files)
    tap = capture.connection("test.1", "ws://v")
    tap.sent("SUBSCRIBE")
    wait_until(lambda: capture.stats().bytes_out > 0, 5)
    files.broken = OSError(errno.ENOSPC, "No space left on device")
    tap.frames([b"lost"], 1)
    wait_until(lambda: capture.stats().errors == 1, 5)
    files.broken = None
    tap.frames([b"kept"], 2)
    capture.close()
    assert capture.stats().dropped == 1
    _, opened, sent, hole, frame = read_file(capture_files(tmp_path)[1])  # a file of its own
    assert isinstance(opened, Opened)
    assert opened.carried
    assert isinstance(sent, Sent)
    assert isinstance(hole, Hole)
    assert (hole.records, hole.why) == (1, "the disk refused")
    assert frame == Frame(2, 1, b"kept")


async def test_a_session_captures_what_it_gets_and_sends_but_not_its_key(
    capture: Capture, tmp_path: Path, loop_kind: str
) -> None:
    async with fake_venue() as venue:
        handler = Handler(subscribe=[f'{{"type":"subscribe","token":"{SECRET}"}}', "PLAIN"])
        session = Session(
            lambda: f"{venue.ws_base}/stream?token={SECRET}",
            f"{venue.ws_base}/stream",
            handler,
            SessionSettings(name="test.1", messages_per_s=0, capture=capture),
        )
        task = asyncio.ensure_future(session.run())
        await eventually(lambda: len(venue.messages) == 2)
        venue.say("data 1", "data 2")
        await eventually(lambda: len(handler.frames_seen) == 2)
        venue.abort_all()
        await eventually(lambda: handler.losses)
        session.stop()
        await asyncio.wait_for(task, 5)
    await asyncio.to_thread(capture.close)
    opened, first, second, *frames, closed = read_captured(tmp_path)[:6]
    assert isinstance(opened, Opened)
    assert isinstance(first, Sent)
    assert isinstance(second, Sent)
    assert (first.message, second.message) == (b'{"type":"subscribe","token":"***"}', b"PLAIN")
    assert frames == [
        Frame(handler.batches[0][1], 1, b"data 1"),
        Frame(handler.batches[0][1], 1, b"data 2"),
    ]
    assert isinstance(closed, Closed)
    assert (closed.code, closed.reason) == (1006, "closed")


async def test_a_connection_closed_from_here_is_told_from_one_closed_there(
    capture: Capture, tmp_path: Path
) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        settings = SessionSettings(name="test.1", capture=capture)
        session = Session(lambda: venue.ws_base, venue.ws_base, handler, settings)
        task = asyncio.ensure_future(session.run())
        await eventually(lambda: venue.open)
        venue.close_all(1008, "policy")
        await eventually(lambda: venue.opened == 2 and venue.open)
        session.stop()
        await asyncio.wait_for(task, 5)
    await asyncio.to_thread(capture.close)
    closed = [record for record in read_captured(tmp_path) if isinstance(record, Closed)]
    assert [(one.code, one.reason, one.detail) for one in closed] == [
        (1008, "closed", "policy"),
        (1000, "left", ""),
    ]


async def test_rest_answers_are_captured_with_their_failures(
    capture: Capture, tmp_path: Path
) -> None:
    async with fake_venue() as venue:
        answers = iter([ok({"a": 1}), (429, {"Retry-After": "7"}, b"slow")])
        venue.rest = lambda path, query: next(answers)
        async with RestClient(
            venue.rest_base,
            budget_per_minute=100,
            timeout_s=5,
            headers={"X-Finnhub-Token": SECRET},
            capture=capture,
        ) as rest:
            reply = await rest.get("/one", {"symbol": "AAPL", "token": SECRET})
            reply.take()
            with pytest.raises(RestError):
                await rest.get("/two", {})
    async with RestClient(
        venue.rest_base, budget_per_minute=100, timeout_s=5, capture=capture
    ) as rest:
        with pytest.raises(RestError):
            await rest.get("/three", {})
    await asyncio.to_thread(capture.close)
    first, second, third = read_captured(tmp_path)
    assert first == Exchange(
        reply.recv_ns, 0, "/one", {"symbol": "AAPL", "token": "***"}, 200, {}, b'{"a": 1}'
    )
    assert isinstance(second, Exchange)
    assert (second.status, second.headers, second.body) == (429, {"Retry-After": "7"}, b"slow")
    assert isinstance(third, Exchange)
    assert (third.path, third.status, third.body) == ("/three", 0, b"")
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in capture_files(tmp_path))


def test_captures_go_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    settings = FeedSettings()
    assert capture_folder(settings, "f") == tmp_path / ".local/state/mdbus/capture/f"
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert capture_folder(settings, "f") == Path("/var/state/mdbus/capture/f")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert capture_folder(settings, "f") == tmp_path / ".local/state/mdbus/capture/f"
    assert capture_folder(replace(settings, capture_dir="~/c"), "f") == tmp_path / "c" / "f"


def test_nothing_is_captured_unless_asked_for(tmp_path: Path) -> None:
    settings = FeedSettings(capture_dir=str(tmp_path), symbols=("BTC-USDT",), orderbook_levels=7)
    assert start_capture(settings, "b", "binance", simulated=True) is None
    capture = start_capture(replace(settings, capture=True), "b", "binance", simulated=True)
    assert capture is not None
    capture.frames(1, [b"x"], 1)
    capture.close()
    (path,) = capture_files(tmp_path / "b")
    head = read_file(path)[0]
    assert isinstance(head, Head)
    assert (head.feed, head.venue, head.simulated) == ("b", "binance", True)
    assert (head.symbols, head.settings["orderbook_levels"]) == (("BTC-USDT",), 7)


async def test_every_session_of_a_feed_gets_its_capture(capture: Capture) -> None:
    made = make_feed(Tap(), Statuses(), FeedSettings())
    feed: Feed = replace(made, capture=capture)
    assert made.session_settings("x").capture is None
    assert feed.session_settings("x").capture is capture


def test_every_venue_lets_its_rest_calls_be_captured() -> None:
    for path in (Path(bus.feeds.__path__[0])).glob("*/*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("RestClient(") == text.count("capture=feed.capture"), path
