"""Recordings on disk: indexed, checked, and never changed by a byte."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bus.errors import ConfigError
from bus.simulator.binance.recording import Recording
from bus.simulator.events import Trade

SNAPSHOT = (
    b'{"lastUpdateId":12,"bids":[["99.0","1"],["98.0","2"]],"asks":[["101.0","3"],["102","1"]]}'
)


def diff(first: int, last: int, bids: str = "[]", asks: str = "[]") -> bytes:
    return (
        f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1,"s":"BTCUSDT",'
        f'"U":{first},"u":{last},"b":{bids},"a":{asks}}}}}'
    ).encode()


LINES = [
    diff(9, 11, '[["99.0","7"]]'),
    b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}',
    SNAPSHOT,
    diff(12, 14, '[["99.0","0.0"],["97.0","4"]]'),
    diff(15, 15, "[]", '[["100.5","9"]]'),
]


def write(path: Path, lines: list[bytes], first_ns: int = 1_000) -> Path:
    with gzip.open(path, "wb") as file:
        for number, line in enumerate(lines):
            file.write(b"%d %b\n" % (first_ns + number * 1_000_000, line))
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    one = write(tmp_path / "one.gz", LINES[:3])
    other = write(tmp_path / "other.gz", LINES[3:], 9_000_000)
    return Recording.open([one, other])


def test_the_index(recording: Recording) -> None:
    assert recording.total == 5
    assert recording.streams == {"btcusdt@depth@100ms": 3, "btcusdt@trade": 1}
    assert recording.symbols == ["BTCUSDT"]
    assert (recording.first_ns, recording.last_ns) == (1_000, 10_000_000)
    (snapshot,) = recording.snapshots
    assert (snapshot.position, snapshot.depth.lastUpdateId) == (2, 12)


def test_lines_are_the_recorded_bytes_over_all_files(recording: Recording) -> None:
    assert [line.raw for line in recording.lines()] == LINES
    assert [line.position for line in recording.lines()] == list(range(5))


def test_a_payload_is_the_frame_without_its_wrapper(recording: Recording) -> None:
    line = list(recording.lines())[1]
    assert line.payload == b'{"e":"trade","s":"BTCUSDT"}'


def test_a_snapshot_is_cut_only_when_fewer_levels_are_asked_for(recording: Recording) -> None:
    (snapshot,) = recording.snapshots
    assert snapshot.cut(1_000) == SNAPSHOT
    assert snapshot.cut(1) == b'{"lastUpdateId":12,"bids":[["99.0","1"]],"asks":[["101.0","3"]]}'


def test_the_book_at_a_place(recording: Recording) -> None:
    assert recording.book_at(2) is None
    at_reply = recording.book_at(3)
    assert at_reply is not None
    assert (at_reply.lastUpdateId, at_reply.bids[0]) == (12, ("99.0", "1"))
    at_end = recording.book_at(5)
    assert at_end is not None
    assert at_end.lastUpdateId == 15
    assert at_end.bids == [("98.0", "2"), ("97.0", "4")]
    assert at_end.asks == [("100.5", "9"), ("101.0", "3"), ("102", "1")]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"nonsense\n", "line 1: not of the form"),
        (b"x {}\n", "line 1: not of the form"),
        (b"1 []\n", "line 1: neither a combined"),
        (b'1 {"stream":"a@trade", "data":{}}\n', "without spaces"),
        (b'1 {"lastUpdateId":"x"}\n', "Expected `int`"),
        (b"", "no WebSocket frame"),
    ],
)
def test_what_cannot_be_played_is_named_with_its_line(
    tmp_path: Path, text: bytes, why: str
) -> None:
    path = tmp_path / "bad.gz"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(ConfigError) as error:
        Recording.open([path])
    assert why in str(error.value)


def test_a_cut_off_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "cut.gz", LINES * 50)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match="cannot be read"):
        Recording.open([path])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Recording.open([tmp_path / "absent.gz"])


def test_no_file_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no recording is named"):
        Recording.open([])


def test_depth_replies_of_several_symbols_cannot_be_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "two.gz", [*LINES, b'{"stream":"ethusdt@trade","data":{}}'])
    with pytest.raises(ConfigError, match="several symbols"):
        Recording.open([path])


@pytest.mark.recorded
def test_the_recorded_book_ends_as_it_is_known_to(recorded_dir: Path) -> None:
    recording = Recording.open(
        [recorded_dir / "btcusdt_20240808.gz", recorded_dir / "btcusdt_20240809.gz"]
    )
    assert recording.streams == {
        "btcusdt@depth@100ms": 6_495,
        "btcusdt@bookTicker": 73_174,
        "btcusdt@trade": 19_904,
    }
    book = recording.book_at(recording.total)
    assert book is not None
    assert (book.bids[0][0], book.asks[0][0]) == ("61602.01000000", "61602.02000000")
    assert (len(book.bids), len(book.asks)) == (1_971, 2_962)


def trade(trade_id: int, symbol: str = "BTCUSDT") -> bytes:
    return (
        f'{{"stream":"{symbol.lower()}@trade","data":{{"e":"trade","E":5,"s":"{symbol}",'
        f'"t":{trade_id},"p":"61602.01000000","q":"0.50000000","T":{trade_id * 10},"m":true,'
        f'"M":true}}}}'
    ).encode()


def test_the_trades_before_a_place_are_the_last_ones_of_that_symbol(tmp_path: Path) -> None:
    lines = [trade(1), trade(7, "ETHUSDT"), diff(1, 2), trade(2), trade(3), trade(4)]
    recording = Recording.open([write(tmp_path / "trades.gz", lines)])
    told = recording.trades_at("BTCUSDT", 5, 2)
    assert told == [
        Trade(2, 6_160_201_000_000, 50_000_000, 20_000_000, True),
        Trade(3, 6_160_201_000_000, 50_000_000, 30_000_000, True),
    ]
    assert [one.trade_id for one in recording.trades_at("ETHUSDT", 6, 1_000)] == [7]
    assert recording.trades_at("BTCUSDT", 0, 1_000) == []


def test_a_line_that_is_no_trade_is_named(recording: Recording) -> None:
    with pytest.raises(ConfigError, match="message 2 of the recording"):
        recording.trades_at("BTCUSDT", 5, 10)
