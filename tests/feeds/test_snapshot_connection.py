"""Books that begin with a snapshot on their stream: lost, had again, taken over."""

from __future__ import annotations

import asyncio

import pytest

from bus.feeds import snapshot_connection
from bus.feeds.listing import Listed
from bus.feeds.session import Lost
from bus.feeds.snapshot_connection import SNAPSHOT_WAIT_NS
from bus.testing import eventually
from tests.feeds.test_venue_connection import live, opened
from tests.feeds.toy_venue import Notes, StreamedConnection


async def test_a_wrong_book_is_had_anew_alone_and_once() -> None:
    connection, notes, statuses = await opened("A", "B")
    live(connection, notes)
    connection.frames(notes.link, [b"A@book bad", b"A@book bad", b"A@book"], 5)
    await eventually(lambda: len(notes.sent) == 3)
    assert notes.sent[1:] == ["unsubscribe A@book", "subscribe A@book"]
    assert statuses.last("A").reason == "crossed"
    assert statuses.state("B") == "live"
    connection.frames(notes.link, [b"A@book snapshot"], 5)
    assert statuses.state("A") == "live"
    assert connection._counters.gaps == 1


async def test_a_book_wrong_again_and_again_waits_longer_and_longer() -> None:
    connection, notes, _ = await opened("A")
    for _ in range(20):
        connection.frames(notes.link, [b"A@book snapshot", b"A@book bad"], 5)
    await eventually(lambda: len(notes.sent) >= 3)
    assert len(notes.sent) <= 5


async def test_a_snapshot_that_never_comes_is_asked_for_again() -> None:
    connection, notes, _ = await opened("A")
    connection._by_name["A"][1].asked_ns -= SNAPSHOT_WAIT_NS
    connection.check(notes.as_session())
    await eventually(lambda: len(notes.sent) == 3)
    connection.check(notes.as_session())
    assert len(notes.sent) == 3


async def test_books_are_refreshed_without_being_lost() -> None:
    connection, notes, statuses = await opened("A", "B")
    live(connection, notes)
    connection.refresh_books()
    await eventually(lambda: len(notes.sent) == 3)
    assert notes.sent[2] == "subscribe A@book,B@book"
    assert connection.instruments["A"].book.synced
    live(connection, notes)
    assert connection.instruments["A"].book.syncs == 2
    assert statuses.states("A") == ["connecting", "live"]


async def test_new_decimals_make_a_book_void() -> None:
    connection, notes, statuses = await opened("A")
    live(connection, notes)
    connection.list_as(Listed("A", "A", price_decimals=3))
    assert statuses.last("A").reason == "precision"


async def succession(
    connection: StreamedConnection, old: Notes
) -> tuple[Notes, asyncio.Future[None]]:
    new = Notes()
    task = asyncio.ensure_future(connection.opened(old.as_session(), new.link, True))
    await eventually(lambda: len(old.sent) > 1)
    return new, task


async def test_a_book_goes_over_with_its_snapshot_and_the_old_one_counts_until_then() -> None:
    connection, old, statuses = await opened("A", "B")
    live(connection, old)
    new, task = await succession(connection, old)
    connection.frames(new.link, [b"A@book", b"A@book snapshot"], 5)
    positions = [connection.instruments[name].book.position for name in ("A", "B")]
    assert positions == [2, 1]
    connection.frames(old.link, [b"A@book", b"B@book"], 5)
    connection.frames(new.link, [b"A@book", b"B@book"], 5)
    positions = [connection.instruments[name].book.position for name in ("A", "B")]
    assert positions == [3, 2], "one each: A's of the new, B's of the old"
    assert not task.done()
    connection.frames(new.link, [b"B@book snapshot"], 5)
    await asyncio.wait_for(task, 5)
    assert statuses.states("A") == ["connecting", "live"]


async def test_removing_the_last_one_waited_for_ends_the_wait() -> None:
    connection, old, _ = await opened("A", "B")
    live(connection, old)
    new, task = await succession(connection, old)
    connection.frames(new.link, [b"A@book snapshot"], 5)
    connection.remove("B")
    await asyncio.wait_for(task, 5)


async def test_a_successor_whose_books_do_not_come_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(snapshot_connection, "SUCCESSOR_S", 0.05)
    connection, old, _ = await opened("A", "B")
    live(connection, old)
    new, task = await succession(connection, old)
    connection.frames(new.link, [b"A@book snapshot"], 5)
    with pytest.raises(TimeoutError):
        await task
    assert connection._by_name["B"][1].link is old.link
    assert connection.instruments["B"].book.synced
    assert connection._by_name["A"][1].link is old.link
    assert not connection.instruments["A"].book.synced, "it is had anew on the old one"


async def test_after_a_loss_no_book_is_anybodys() -> None:
    connection, notes, _ = await opened("A")
    live(connection, notes)
    connection.lost(notes.as_session(), Lost("closed", "1006", 0.1, 0))
    connection.frames(notes.link, [b"A@book snapshot"], 5)
    assert not connection.instruments["A"].book.synced
