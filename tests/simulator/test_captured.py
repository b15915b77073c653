"""Captures on disk: chosen by venue, put in order, read past damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.capture import Frame, Head
from bus.errors import ConfigError
from bus.simulator.captured import Captures, are_captures, read_head
from tests.simulator.captures import START_NS, head, write


def frame(text: bytes) -> Frame:
    return Frame(START_NS, 1, text)


def test_files_are_put_in_the_order_of_their_beginning(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.mdcap", head(2), frame(b"second")),
        write(tmp_path / "b.mdcap", head(1, START_NS + 5), frame(b"third")),
        write(tmp_path / "c.mdcap", head(1), frame(b"first")),
    ]
    captures = Captures.open(files, "binance")
    assert [(one.run, one.part) for one in captures.heads] == [
        (START_NS, 1),
        (START_NS, 2),
        (START_NS + 5, 1),
    ]
    played = [record.payload for record in captures.records() if isinstance(record, Frame)]
    assert played == [b"first", b"second", b"third"]


def test_each_venue_gets_its_own_files(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.mdcap", head()),
        write(tmp_path / "b.mdcap", head(venue="finnhub")),
    ]
    assert [one.venue for one in Captures.open(files, "finnhub").heads] == ["finnhub"]
    assert Captures.open(files, "kraken").heads == []


def test_two_feeds_of_one_venue_are_not_mixed(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "a.mdcap", head(feed="one")),
        write(tmp_path / "b.mdcap", head(feed="two")),
    ]
    with pytest.raises(ConfigError, match=r"several feeds \(one, two\)"):
        Captures.open(files, "binance")


def test_damage_costs_what_is_damaged_and_is_listed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mdcap", head(), frame(b"kept"), frame(b"cut"))
    path.write_bytes(path.read_bytes()[:-15])
    captures = Captures.open([path], "binance")
    _, *rest = captures.records()
    assert rest == [frame(b"kept")]
    assert [file for file, _ in captures.cuts] == [path]


def test_a_file_cut_within_its_first_block_still_says_what_it_is(tmp_path: Path) -> None:
    encoded = write(tmp_path / "a.mdcap", head()).read_bytes()
    (tmp_path / "a.mdcap").write_bytes(encoded[:-1])
    assert isinstance(read_head(tmp_path / "a.mdcap"), Head)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b\x08 a gzip file", "no capture file"),
        (b"mdcap\x001\n", "nothing that can be played"),
        (None, "No such file"),
    ],
)
def test_what_is_no_capture_is_refused_by_name(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "a.mdcap"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=why) as caught:
        Captures.open([path], "binance")
    assert caught.value.problems[0].where == str(path)


def test_a_capture_without_a_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say what it is of"):
        Captures.open([write(tmp_path / "a.mdcap", frame(b"x"))], "binance")


def test_captures_are_told_by_their_names() -> None:
    assert are_captures(["a.mdcap", "b.mdcap"])
    assert not are_captures(["a.gz"])
    assert not are_captures([])
    with pytest.raises(ConfigError, match=r"do not go together: b\.gz"):
        are_captures(["a.mdcap", "b.gz"])
