"""Events with numbers: taken over in order, books that want their snapshots."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bus.clock import monotonic_ns
from bus.feeds import numbered_connection
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.session import Lost
from bus.testing import eventually
from tests.feeds.tap import Statuses
from tests.feeds.toy_venue import Notes, NumberedToyConnection, toy_feed


class Two(Notes):
    """A session with an old and a new connection."""

    other: Notes | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        return (self.link, self.other.link) if self.other else (self.link,)


async def opened(*symbols: str) -> tuple[NumberedToyConnection, Two, Statuses]:
    feed, _, statuses = toy_feed()
    connection, notes = NumberedToyConnection(feed, *symbols), Two()
    await connection.opened(notes.as_session(), notes.link, False)
    notes.last_frame_mono_ns = monotonic_ns()  # of whatever comes from now on
    return connection, notes, statuses


async def test_a_book_that_changes_wants_its_snapshot() -> None:
    connection, notes, statuses = await opened("A")
    assert not connection.wanted["A"].is_set()
    connection.frames(notes.link, [b"A@book 101"], 5)
    assert connection.wanted["A"].is_set()
    connection.instruments["A"].book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    assert statuses.state("A") == "live"


async def test_neither_a_new_connection_nor_a_snapshot_fetched_elsewhere_is_data() -> None:
    connection, notes, statuses = await opened("A")
    book = connection.instruments["A"].book
    connection.frames(notes.link, [b"A@book 101"], 5)
    book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    assert statuses.state("A") == "live"
    connection.lost(notes.as_session(), Lost("silent_streams", "given up by this side", 0.1, 0))
    await connection.opened(notes.as_session(), notes.link, False)
    connection.check(notes.as_session())
    book.on_snapshot(200, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    connection.check(notes.as_session())
    assert book.synced
    assert (statuses.last("A").state, statuses.last("A").reason) == ("recovering", "subscribing")
    notes.last_frame_mono_ns = monotonic_ns()
    connection.frames(notes.link, [b"A@trade 1"], 5)
    connection.check(notes.as_session())
    assert statuses.state("A") == "live"


async def test_an_instrument_that_is_added_is_not_live_by_that() -> None:
    connection, notes, statuses = await opened("A")
    connection.add(Listed("B", "B"))
    connection.instruments["B"].book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    connection.check(notes.as_session())
    assert statuses.last("B").reason == "subscribing"


async def test_a_quiet_book_wants_its_snapshot_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection, notes, _ = await opened("A")
    connection.check(notes.as_session())
    assert not connection.wanted["A"].is_set()
    monkeypatch.setattr(numbered_connection, "QUIET_BOOK_NS", -1)
    connection.check(notes.as_session())
    assert connection.wanted["A"].is_set()


async def test_a_gap_is_that_symbols_alone_and_counted_once() -> None:
    connection, notes, statuses = await opened("A", "B")
    for symbol in ("A", "B"):
        connection.frames(notes.link, [f"{symbol}@book 101".encode()], 5)
        connection.instruments[symbol].book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    connection.frames(notes.link, [b"A@book 105", b"A@book 109", b"B@book 102"], 5)
    assert (statuses.last("A").reason, statuses.state("B")) == ("gap", "live")
    assert connection._counters.gaps == 1


async def test_a_snapshot_that_failed_is_said_and_one_in_step_is_left_alone() -> None:
    connection, notes, statuses = await opened("A")
    connection.frames(notes.link, [b"A@book 101"], 5)
    connection.snapshot_failed("A", "limited")
    assert statuses.last("A").reason == "snapshot_limited"
    connection.instruments["A"].book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    connection.snapshot_failed("A", "limited")
    connection.snapshot_failed("gone", "limited")
    assert statuses.state("A") == "live"


async def test_books_are_refreshed_beside_the_live_ones() -> None:
    connection, notes, _ = await opened("A")
    connection.frames(notes.link, [b"A@book 101"], 5)
    book = connection.instruments["A"].book
    book.on_snapshot(100, [(1.0, 1.0)], [(2.0, 1.0)], 5, 5)
    connection.wanted["A"].clear()
    connection.refresh_books()
    assert connection.wanted["A"].is_set()
    assert (book.synced, book.refresh_reason) == (True, "capture")


async def test_a_new_connection_that_is_ahead_waits_for_the_old_one() -> None:
    connection, old, _ = await opened("A")
    new = Notes()
    old.other = new
    task: asyncio.Future[Any] = asyncio.ensure_future(
        connection.opened(old.as_session(), new.link, True)
    )
    await eventually(lambda: len(old.sent) == 2)
    toy = connection.instruments["A"]
    connection.frames(old.link, [b"A@trade 1", b"A@book 1"], 5)
    connection.frames(new.link, [b"A@trade 4", b"A@trade 5", b"A@book 2"], 5)
    assert toy.seen == [1]
    connection.frames(old.link, [b"A@trade 2", b"A@trade 3"], 5)
    assert toy.seen == [1, 2, 3, 4, 5]
    await asyncio.wait_for(task, 5)
    connection.frames(cast(Link, old), [b"A@trade 4"], 5)
    assert toy.seen == [1, 2, 3, 4, 5]


async def test_a_removed_one_has_no_routes_and_no_wishes() -> None:
    connection, notes, _ = await opened("A", "B")
    connection.remove("B")
    assert connection.frames(notes.link, [b"B@trade 1", b"A@trade 1"], 5) == 1
    assert connection._counters.unknown == 0
    assert list(connection.wanted) == ["A"]
