"""Events are handed on as they come and kept in a file that outlives the supervisor."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

from bus.supervision.events import FILE_NAME, MAX_FILE_BYTES, EventLog, Happening


def test_listeners_hear_each_in_order() -> None:
    log = EventLog()
    heard: list[Happening] = []
    log.listen(heard.append)
    for number in range(3):
        log.add(Happening(number, "note", "", ""))
    assert [happening.at_ns for happening in heard] == [0, 1, 2]


def test_events_are_read_back_as_they_were(tmp_path: Path) -> None:
    log = EventLog()
    log.add(Happening(1, "note", "", "before there is a file"))
    log.keep_in(tmp_path)
    told = Happening(2, "exited", "feed.x", "code 1 (“no route”)\nand more")
    log.add(told)
    (line,) = (tmp_path / FILE_NAME).read_text().splitlines()
    assert Happening.of_json(line) == told


def test_a_later_supervisor_adds_to_what_an_earlier_one_kept(tmp_path: Path) -> None:
    for number in range(2):
        log = EventLog()
        log.keep_in(tmp_path)
        log.add(Happening(number, "begun", "", ""))
    assert len((tmp_path / FILE_NAME).read_text().splitlines()) == 2


def test_the_file_is_bounded(tmp_path: Path) -> None:
    log = EventLog()
    log.keep_in(tmp_path)
    for number in range(60):
        log.add(Happening(number, "note", "", "x" * (MAX_FILE_BYTES // 10)))
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= MAX_FILE_BYTES * 1.2


def test_what_cannot_be_written_is_counted_and_harms_nothing(tmp_path: Path) -> None:
    log = EventLog()
    log.keep_in(tmp_path / "not there")
    log.add(Happening(1, "note", "", ""))
    assert log.lost == 1


def test_a_disk_that_fills_in_the_middle_of_an_event_costs_that_event_alone(
    tmp_path: Path,
) -> None:
    log = EventLog()
    log.keep_in(tmp_path)
    log.add(Happening(1, "note", "", "before"))
    size = (tmp_path / FILE_NAME).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))  # then a write is cut short
    try:
        log.add(Happening(2, "note", "", "while it is full"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    log.add(Happening(3, "note", "", "after"))
    lines = (tmp_path / FILE_NAME).read_text().splitlines()
    assert [Happening.of_json(line) for line in lines] == [
        Happening(1, "note", "", "before"),
        Happening(3, "note", "", "after"),
    ]
    assert log.lost == 1


def test_a_line_cut_short_is_no_event() -> None:
    whole = Happening(1, "note", "", "text").to_json()
    for cut in range(len(whole)):
        assert Happening.of_json(whole[:cut]) is None
    assert Happening.of_json("[1]") is None
