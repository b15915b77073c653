"""Capture files on a real disk: names, modes, rolling, the bound, what a new file repeats."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bus.capture import Closed, Frame, Head, Opened, Sent
from bus.capture.files import HOUR_NS
from bus.capture.records import encode
from bus.feeds.capture_files import MAX_CARRIED, CaptureFiles
from tests.feeds.captured import capture_files, read_file

AT_NS = 1_723_161_253_000_000_000
HEAD = Head(AT_NS, 0, "binance", "binance", AT_NS, 0, True, ("BTC-USDT",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "captures" / "binance"


def make(folder: Path, max_bytes: int = 1 << 30, roll_bytes: int = 1 << 20) -> CaptureFiles:
    return CaptureFiles(folder, HEAD, max_bytes=max_bytes, roll_bytes=roll_bytes)


def noise(size: int) -> bytes:
    return encode(Frame(AT_NS, 1, random.Random(size).randbytes(size)))


def test_a_file_says_what_it_is_of_and_is_for_its_owner_only(folder: Path) -> None:
    files = make(folder)
    files.write(encode(Frame(AT_NS, 1, b"x")), AT_NS)
    files.end()
    (path,) = capture_files(folder)
    assert path.relative_to(folder).as_posix() == "2024-08-08/binance-235413-0001.mdcap"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    head, frame = read_file(path)
    assert isinstance(head, Head)
    assert (head.feed, head.part, head.simulated, head.symbols) == (
        "binance",
        1,
        True,
        ("BTC-USDT",),
    )
    assert frame == Frame(AT_NS, 1, b"x")


def test_what_is_written_can_be_read_before_the_file_is_closed(folder: Path) -> None:
    files = make(folder)
    for number in range(3):
        files.write(encode(Frame(AT_NS, 1, b"%d" % number)), AT_NS)
        assert len(read_file(capture_files(folder)[0])) == 2 + number
    files.end()


def test_an_hour_and_a_full_file_each_begin_a_new_one(folder: Path) -> None:
    files = make(folder, roll_bytes=100_000)
    files.write(noise(10), AT_NS)
    files.write(noise(10), AT_NS + HOUR_NS)
    files.write(noise(200_000), AT_NS + HOUR_NS)
    files.write(noise(10), AT_NS + HOUR_NS)
    files.end()
    assert [path.name for path in capture_files(folder)] == [
        "binance-235413-0001.mdcap",
        "binance-005413-0001.mdcap",
        "binance-005413-0002.mdcap",
    ]
    heads = [read_file(path)[0] for path in capture_files(folder)]
    assert [head.part for head in heads if isinstance(head, Head)] == [1, 2, 3]


def test_a_new_file_repeats_the_open_connections(folder: Path) -> None:
    files = make(folder)
    first, second = (Opened(AT_NS, number, "binance.1", "ws://x") for number in (1, 2))
    subscribe = Sent(AT_NS, 2, b"SUBSCRIBE")
    files.write(noise(10), AT_NS)
    for record in (first, second, subscribe, Closed(AT_NS, 1, 1000, "left")):
        files.follow(record)
    for _ in range(MAX_CARRIED + 5):
        files.follow(subscribe)
    files.write(noise(11), AT_NS + HOUR_NS)
    files.end()
    _, opened, *sent, frame = read_file(capture_files(folder)[1])
    assert opened == Opened(AT_NS, 2, "binance.1", "ws://x", carried=True, carried_sent=MAX_CARRIED)
    assert sent == [subscribe] * MAX_CARRIED
    assert isinstance(frame, Frame)


def test_all_files_stay_within_the_bound_and_the_oldest_go_first(folder: Path) -> None:
    files = make(folder, max_bytes=100_000, roll_bytes=20_000)
    for number in range(20):
        files.write(noise(19_000 + number), AT_NS + number * 1_000_000_000)
        assert sum(path.stat().st_size for path in capture_files(folder)) <= 100_000
    files.end()
    left = capture_files(folder)
    assert files.deleted == files.files - len(left) > 0
    newest = [head for path in left if isinstance(head := read_file(path)[0], Head)]
    assert [head.part for head in newest] == list(range(files.deleted + 1, files.files + 1))


def test_files_of_an_earlier_run_count_and_empty_days_go_with_them(folder: Path) -> None:
    earlier = make(folder)
    for number in range(3):
        earlier.write(noise(30_000 + number), AT_NS)
        earlier.end()
    files = make(folder, max_bytes=60_000, roll_bytes=20_000)
    files.write(noise(10), AT_NS + 48 * HOUR_NS)
    files.end()
    assert files.deleted == 2
    assert len(capture_files(folder)) == 2
    files = make(folder, max_bytes=20_000, roll_bytes=20_000)
    files.write(noise(12), AT_NS + 72 * HOUR_NS)
    files.end()
    assert not (folder / "2024-08-08").exists()


def test_a_single_file_never_passes_half_of_the_bound(folder: Path) -> None:
    files = make(folder, max_bytes=40_000, roll_bytes=1 << 30)
    for number in range(10):
        files.write(noise(5_000 + number), AT_NS)
    files.end()
    assert max(path.stat().st_size for path in capture_files(folder)) < 26_000
