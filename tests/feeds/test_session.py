"""A session against a real server that misbehaves in every way a venue has been seen to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.server import ServerConnection

from bus.clock import now_ns
from bus.feeds.attempts import AttemptBudget
from bus.feeds.backoff import Backoff
from bus.feeds.link import Link
from bus.feeds.rate_limit import WINDOW_S
from bus.feeds.session import Lost, Session, SessionSettings
from bus.testing import eventually
from tests.feeds.fake_venue import FakeVenue, fake_venue, silent_port

SECRET = "c0ffee-secret"


@dataclass
class Handler:
    """Notes what it is called with. A frame that begins with ``data`` is market data."""

    events: list[str] = field(default_factory=list)
    batches: list[tuple[list[bytes], int]] = field(default_factory=list)
    losses: list[Lost] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    subscribe: list[str] = field(default_factory=list)
    on_frame: Callable[[bytes], None] = lambda frame: None

    @property
    def frames_seen(self) -> list[bytes]:
        return [frame for batch, _ in self.batches for frame in batch]

    def opening(self, session: Session) -> None:
        self.events.append("opening")

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        self.events.append("successor" if successor else "opened")
        self.links.append(link)
        for message in self.subscribe:
            await session.send(link, message)

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        self.batches.append((list(batch), recv_ns))
        for frame in batch:
            self.on_frame(frame)
        return sum(frame.startswith(b"data") for frame in batch)

    def lost(self, session: Session, lost: Lost) -> None:
        self.events.append(f"lost:{lost.reason}")
        self.losses.append(lost)


@asynccontextmanager
async def running(
    venue: FakeVenue, handler: Handler, **settings: object
) -> AsyncIterator[tuple[Session, asyncio.Task[None]]]:
    options = {"name": "test.1", "backoff": Backoff(0.01, 0.05), "messages_per_s": 0, **settings}
    session = Session(
        lambda: f"{venue.ws_base}/stream?token={SECRET}",
        venue.ws_base,
        handler,
        SessionSettings(**options),  # type: ignore[arg-type]
        jitter=lambda: 1.0,
    )
    task = asyncio.ensure_future(session.run())
    try:
        yield session, task
    finally:
        session.stop()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 5)


async def test_all_frames_of_one_read_come_together_with_its_time(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: venue.open)
            before_ns = now_ns()
            venue.say("data 1", "data 2", "data 3")
            await eventually(lambda: len(handler.frames_seen) == 3)
            batch, recv_ns = handler.batches[0]
            assert batch == [b"data 1", b"data 2", b"data 3"]
            assert before_ns <= recv_ns <= now_ns()


async def test_a_fragmented_message_comes_as_one(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: venue.open)
            await venue.open[0].send(["data ", "in ", "parts"])
            await eventually(lambda: handler.frames_seen == [b"data in parts"])


async def test_a_frame_of_sixteen_megabytes_is_taken(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler, max_frame_bytes=32 * 1024 * 1024):
            await eventually(lambda: venue.open)
            await venue.open[0].send("data" + "x" * (16 * 1024 * 1024))
            await eventually(lambda: handler.frames_seen)
            assert handler.losses == []


async def test_after_a_reset_it_connects_and_subscribes_again(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler(subscribe=["SUBSCRIBE everything"])
        async with running(venue, handler) as (session, _):
            await eventually(lambda: len(venue.messages) == 1)
            venue.abort_all()
            await eventually(lambda: len(venue.messages) == 2)
            assert handler.events == ["opening", "opened", "lost:closed", "opening", "opened"]
            assert "1006" in handler.losses[0].detail
            assert session.reconnects == 1


async def test_a_close_for_policy_is_told_with_its_reason(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: venue.open)
            venue.close_all(1008, "Too many requests")
            await eventually(lambda: handler.losses)
            assert handler.losses[0].detail == "closed with code 1008: Too many requests"
            await eventually(lambda: handler.events.count("opened") == 2)


async def test_a_server_that_accepts_and_closes_is_not_hammered() -> None:
    async with fake_venue() as venue:
        venue.on_open = lambda connection: connection.transport.abort()
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: len(handler.losses) >= 4)
            assert [lost.attempt for lost in handler.losses[:4]] == [0, 1, 2, 3]
            waits = [lost.retry_in_s for lost in handler.losses[:4]]
            assert waits == sorted(waits)
            assert waits[0] > 0


async def test_only_data_resets_the_backoff() -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            for attempt in range(3):
                await eventually(lambda: venue.open)
                venue.say("an acknowledgement, not market data")
                venue.abort_all()
                await eventually(lambda seen=attempt: len(handler.losses) > seen)  # type: ignore[misc]
            assert [lost.attempt for lost in handler.losses] == [0, 1, 2]
            await eventually(lambda: venue.open)
            venue.say("data")
            await eventually(lambda: b"data" in handler.frames_seen)
            venue.abort_all()
            await eventually(lambda: len(handler.losses) == 4)
            assert handler.losses[3].attempt == 0


async def test_a_server_that_sends_and_cuts_again_and_again_is_not_stormed() -> None:
    async with fake_venue() as venue:

        def greet_and_cut(connection: ServerConnection) -> None:
            venue.say("data")
            connection.transport.close()

        venue.on_open = greet_and_cut
        handler = Handler()
        attempts = AttemptBudget(5, 300.0)
        session = Session(
            lambda: venue.ws_base,
            venue.ws_base,
            handler,
            SessionSettings("test.1", backoff=Backoff(0.001, 0.002)),
            attempts=attempts,
        )
        task = asyncio.ensure_future(session.run())
        await eventually(lambda: attempts.waits)
        assert venue.opened == 5
        assert {lost.attempt for lost in handler.losses} == {0}  # data came: no backoff
        session.stop()
        await asyncio.wait_for(task, 2)


async def test_an_unreachable_venue_is_tried_for_ever(loop_kind: str) -> None:
    async with fake_venue() as venue:
        await venue.stop()
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: len(handler.losses) >= 8)
            assert {lost.reason for lost in handler.losses} == {"unreachable"}
            await venue.start()
            await eventually(lambda: "opened" in handler.events)


async def test_a_refused_key_is_told_and_tried_again_slowly(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with fake_venue() as venue:
        venue.refuse = (401, {}, b'{"error":"Invalid API key"}')
        handler = Handler()
        async with running(venue, handler, unauthorized_retry_s=300.0):
            await eventually(lambda: handler.losses)
            assert handler.losses[0].reason == "unauthorized"
            assert handler.losses[0].retry_in_s == 300.0
            assert SECRET in venue.handshakes[0]
    assert SECRET not in "".join(capfd.readouterr())


async def test_a_refused_location_is_told_and_tried_again_slowly() -> None:
    async with fake_venue() as venue:
        venue.refuse = (451, {}, b"")
        handler = Handler()
        async with running(venue, handler, unauthorized_retry_s=300.0):
            await eventually(lambda: handler.losses)
            (lost,) = handler.losses
            assert (lost.reason, lost.retry_in_s) == ("restricted", 300.0)
            assert lost.detail == "the venue refuses this location: HTTP 451"


async def test_retry_after_of_a_refused_handshake_is_kept() -> None:
    async with fake_venue() as venue:
        venue.refuse = (429, {"Retry-After": "77"}, b"")
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: handler.losses)
            assert (handler.losses[0].reason, handler.losses[0].retry_in_s) == ("limited", 77.0)


async def test_a_server_without_websockets_is_refused_not_fatal() -> None:
    async with fake_venue() as venue:
        venue.refuse = (200, {}, b"<html>")
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: len(handler.losses) >= 2)
            assert handler.losses[0].reason == "refused"


async def test_a_server_that_never_answers_the_handshake_times_out() -> None:
    with silent_port() as port:
        handler = Handler()
        async with running(FakeVenue(port=port), handler, connect_timeout_s=0.1):
            await eventually(lambda: handler.losses)
            assert handler.losses[0].reason == "timeout"


async def test_a_silent_connection_is_given_up_on_request(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler) as (session, _):
            await eventually(lambda: session.connected)
            session.abort("silent")
            await eventually(lambda: handler.events.count("opened") == 2)
            assert handler.losses[0].reason == "silent"


async def test_no_second_holds_more_messages_than_allowed_pongs_included() -> None:
    async with fake_venue() as venue:
        handler = Handler(subscribe=[str(number) for number in range(5)])
        async with running(venue, handler, messages_per_s=4):
            await eventually(lambda: len(venue.messages) == 4)
            waiter = await venue.open[0].ping()
            await waiter  # a pong: it could not wait, and it counts
            await eventually(lambda: len(venue.messages) == 5)
            assert venue.times_s[4] - venue.times_s[0] > WINDOW_S - 0.05


async def test_a_replacement_is_open_and_has_data_before_the_old_one_goes(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler(subscribe=["SUBSCRIBE"])
        async with running(venue, handler) as (session, _):
            await eventually(lambda: len(venue.messages) == 1)
            session.rotate()
            await eventually(lambda: len(venue.messages) == 2)
            assert len(venue.open) == 2
            venue.say("data from the old one", to=0)
            await eventually(lambda: b"data from the old one" in handler.frames_seen)
            assert len(venue.open) == 2
            venue.say("data from the new one", to=1)
            await eventually(lambda: len(venue.open) == 1)
            venue.say("data after")
            await eventually(lambda: b"data after" in handler.frames_seen)
            assert handler.events == ["opening", "opened", "successor"]


async def test_an_announced_shutdown_brings_a_replacement() -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: handler.links)
            handler.links[0].shutdown_announced.set()
            await eventually(lambda: len(venue.open) == 2)
            venue.say("data", to=1)
            await eventually(lambda: len(venue.open) == 1)
            assert handler.losses == []


async def test_age_brings_a_replacement() -> None:
    async with fake_venue() as venue:
        handler = Handler()

        def greet(connection: ServerConnection) -> None:
            venue.say("data")

        venue.on_open = greet
        async with running(venue, handler, rotate_after_s=0.05):
            await eventually(lambda: handler.events.count("successor") >= 2)
            assert handler.losses == []


async def test_a_bug_in_the_handler_ends_the_session_with_it(loop_kind: str) -> None:
    async with fake_venue() as venue:

        def fail(frame: bytes) -> None:
            raise ZeroDivisionError("a bug")

        handler = Handler(on_frame=fail)
        async with running(venue, handler) as (_, task):
            await eventually(lambda: venue.open)
            venue.say("data")
            await eventually(task.done)
            with pytest.raises(ZeroDivisionError):
                task.result()


async def test_a_slow_handler_slows_the_venue_and_loses_nothing(loop_kind: str) -> None:
    """40 MB against a handler that burns time: all of it arrives, once, in order."""
    async with fake_venue() as venue:

        def burn(frame: bytes) -> None:
            sum(range(300))

        handler = Handler(on_frame=burn)
        async with running(venue, handler):
            await eventually(lambda: venue.open)
            count, filler = 8_000, "x" * 5_000

            async def pour() -> None:
                for number in range(count):
                    await venue.open[0].send(f"data {number} {filler}")

            pouring = asyncio.ensure_future(pour())
            await eventually(lambda: sum(len(batch) for batch, _ in handler.batches) == count, 30)
            await pouring
            numbers = [int(frame.split()[1]) for frame in handler.frames_seen]
            assert numbers == list(range(count))
            assert handler.losses == []


async def test_stop_closes_the_connection(loop_kind: str) -> None:
    async with fake_venue() as venue:
        async with running(venue, Handler()) as (session, task):
            await eventually(lambda: session.connected)
            session.stop()
            await asyncio.wait_for(task, 3)
        await eventually(lambda: not venue.open)


async def test_stop_interrupts_the_wait_between_attempts() -> None:
    async with fake_venue() as venue:
        venue.refuse = (401, {}, b"")
        handler = Handler()
        async with running(venue, handler) as (session, task):
            await eventually(lambda: handler.losses)
            session.stop()
            await asyncio.wait_for(task, 2)
