"""What every connection does, whatever the venue: shown on one that hardly says anything."""

from __future__ import annotations

import pytest

from bus.clock import monotonic_ns
from bus.feeds.listing import Listed
from bus.feeds.session import Lost
from bus.testing import eventually
from tests.feeds.tap import Statuses
from tests.feeds.toy_venue import Notes, StreamedConnection, toy_feed

S = 1_000_000_000


async def opened(*symbols: str) -> tuple[StreamedConnection, Notes, Statuses]:
    feed, _, statuses = toy_feed()
    connection, notes = StreamedConnection(feed, *symbols), Notes()
    connection.opening(notes.as_session())
    await connection.opened(notes.as_session(), notes.link, False)
    return connection, notes, statuses


def live(connection: StreamedConnection, notes: Notes) -> None:
    for symbol in connection.instruments:
        connection.frames(notes.link, [f"{symbol}@book snapshot".encode()], 5)


async def test_everything_is_subscribed_to_on_opening() -> None:
    _, notes, statuses = await opened("A", "B")
    assert notes.sent == ["subscribe A@trade,A@book,B@trade,B@book"]
    assert statuses.states("A") == ["connecting"]


async def test_bad_frames_are_counted_and_the_others_go_on() -> None:
    connection, notes, _ = await opened("A")
    frames = [b"nonsense", b"X@trade", b"A@trade", b"A@book snapshot"]
    assert connection.frames(notes.link, frames, 5) == 2
    counters = connection._counters
    assert (counters.malformed, counters.unknown, counters.messages_in) == (1, 1, 4)


async def test_a_loss_is_every_instruments_and_the_incurable_is_down_at_once() -> None:
    connection, notes, statuses = await opened("A", "B")
    live(connection, notes)
    connection.lost(notes.as_session(), Lost("closed", "1006", 0.1, 0))
    assert statuses.states("A") == ["connecting", "live", "recovering"]
    assert not connection.instruments["A"].book.synced
    connection.lost(notes.as_session(), Lost("restricted", "HTTP 451", 300.0, 0))
    assert statuses.last("B").state == "down"


async def test_one_that_is_added_is_subscribed_to_alone() -> None:
    connection, notes, statuses = await opened("A")
    live(connection, notes)
    streams = connection.add(Listed("B", "B"))
    await connection.ask(notes.as_session(), "subscribe", streams)
    assert notes.sent[1:] == ["subscribe B@trade,B@book"]
    connection.judge_all()
    assert statuses.last("B").reason == "subscribing"
    live(connection, notes)
    assert statuses.state("B") == "live"
    assert statuses.states("A") == ["connecting", "live"]


async def test_one_that_is_removed_is_left_and_what_still_comes_is_no_surprise() -> None:
    connection, notes, _ = await opened("A", "B")
    streams = connection.remove("B")
    await connection.ask(notes.as_session(), "unsubscribe", streams)
    assert notes.sent[1:] == ["unsubscribe B@trade,B@book"]
    assert connection.frames(notes.link, [b"B@trade"], 5) == 0
    assert connection._counters.unknown == 0
    connection.add(Listed("B", "B"))
    assert connection.frames(notes.link, [b"B@trade"], 5) == 1


async def test_silence_climbs_the_ladder_to_a_new_subscription(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bus.feeds.ladder.ASK_TOGETHER_NS", 0)
    connection, notes, statuses = await opened("A", "B")
    live(connection, notes)
    now_ns = monotonic_ns()
    for stream in ("A@trade", "B@trade", "B@book"):
        connection._seen[stream] = now_ns
    connection._seen["A@book"] = now_ns - 11 * S
    connection.check(notes.as_session())
    await eventually(lambda: len(notes.sent) == 3)
    assert notes.sent[1:] == ["unsubscribe A@book", "subscribe A@book"]
    assert (statuses.state("A"), statuses.state("B")) == ("stale", "live")
    assert statuses.last("A").detail == "no data of: book"
    assert connection._counters.stale == 1
    connection.frames(notes.link, [b"A@book"], 5)
    connection.check(notes.as_session())
    assert statuses.state("A") == "live"


async def test_one_removed_while_it_is_asked_for_again_is_not_subscribed_to() -> None:
    connection, notes, _ = await opened("A", "B")
    connection._ask_again(notes.as_session(), notes.link, ["A@book", "B@book"])
    connection.remove("B")
    await eventually(lambda: len(notes.sent) == 3)
    assert notes.sent[2] == "subscribe A@book"


async def test_a_dead_connection_is_given_up() -> None:
    connection, notes, _ = await opened("A")
    notes.last_frame_mono_ns -= 61 * S
    connection.check(notes.as_session())
    assert notes.aborted == "silent"


async def test_a_closed_market_is_not_asked_for_again() -> None:
    connection, notes, statuses = await opened("A", "B")
    live(connection, notes)
    connection.list_as(Listed("A", "A", trading=False))
    now_ns = monotonic_ns()
    connection._seen.update({"B@trade": now_ns, "B@book": now_ns})
    connection._seen.update({"A@trade": now_ns - 11 * S, "A@book": now_ns - 11 * S})
    connection.check(notes.as_session())
    assert statuses.last("A").reason == "market_closed"
    assert len(notes.sent) == 1


async def test_one_that_the_venue_does_not_list_is_down_until_it_does() -> None:
    connection, _, statuses = await opened("A", "B")
    connection.refuse("A", "the venue lists no A")
    connection.judge_all()
    assert statuses.last("A").reason == "unknown_symbol"
    assert connection.list_as(Listed("A", "A")) == ["A@trade", "A@book"]
    assert connection.list_as(Listed("A", "A")) == [], "subscribed to already"
    connection.judge_all()
    assert statuses.state("A") == "connecting"


async def test_one_that_the_venue_has_renamed_is_down_with_what_to_do() -> None:
    connection, _, statuses = await opened("A")
    assert connection.list_as(Listed("A", "Z")) == []
    connection.judge_all()
    assert statuses.last("A").detail == "the venue calls it Z: restart the feed"


async def test_lost_trades_stand_beside_live() -> None:
    connection, notes, statuses = await opened("A")
    live(connection, notes)
    connection.instruments["A"].loss = "3 trades lost"
    connection.judge_all()
    status = statuses.last("A")
    assert (status.state, status.reason, status.detail) == ("live", "trades_lost", "3 trades lost")
