"""What the connection does with frames, without a socket."""

from __future__ import annotations

from typing import cast

from bus.clock import monotonic_ns
from bus.config import FeedSettings
from bus.feeds.coinbase.connection import Connection
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.session import Lost, Session
from tests.feeds.coinbase.test_parser import HEARTBEAT, MATCH, SNAPSHOT, SUBSCRIPTIONS, UPDATE
from tests.feeds.tap import Statuses, Tap, make_feed


class Wire:
    """Stands where a session and its link would; keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.last_frame_mono_ns = monotonic_ns()
        self.aborted = ""
        self.name = "wire"
        self.link: Wire | None = self

    async def send(self, link: Link, message: str, *, again: bool = False) -> None:
        self.sent.append(message)

    def abort(self, reason: str) -> None:
        self.aborted = reason

    def as_link(self) -> Link:
        return cast(Link, self)

    def as_session(self) -> Session:
        return cast(Session, self)


async def opened() -> tuple[Connection, Wire, Tap, Statuses]:
    tap, statuses, wire = Tap(), Statuses(), Wire()
    feed = make_feed(tap, statuses, FeedSettings(symbols=("BTC-USD",)), name="coinbase")
    connection = Connection(feed, [Listed("BTC-USD", "BTC-USD")], exists=lambda product: True)
    connection.opening(wire.as_session())
    await connection.opened(wire.as_session(), wire.as_link(), False)
    return connection, wire, tap, statuses


async def test_market_frames_are_counted_and_answers_are_not() -> None:
    connection, wire, _, statuses = await opened()
    frames = [SUBSCRIPTIONS, SNAPSHOT, MATCH, HEARTBEAT]
    assert connection.frames(wire.as_link(), frames, 5) == 3
    assert statuses.state("BTC-USD") == "live"


async def test_bad_frames_are_counted_and_the_others_go_on() -> None:
    connection, wire, tap, _ = await opened()
    counters = connection._counters
    frames = [b"{", b'{"type":"odd"}', MATCH.replace(b"BTC-USD", b"ETH-USD"), MATCH]
    assert connection.frames(wire.as_link(), frames, 5) == 1
    assert (counters.malformed, counters.unknown, counters.messages_in) == (1, 2, 4)
    assert len(tap.bodies("md/trades/sim/BTC-USD/")) == 1


async def test_updates_of_another_connection_do_not_touch_the_book() -> None:
    connection, wire, tap, _ = await opened()
    connection.frames(wire.as_link(), [SNAPSHOT], 5)
    connection.frames(Wire().as_link(), [UPDATE, SNAPSHOT], 5)
    assert len(tap.bodies("md/depth/sim/BTC-USD/")) == 1


async def test_a_refusal_naming_a_product_is_its_status() -> None:
    connection, wire, _, statuses = await opened()
    frame = (
        b'{"type":"error","message":"Failed to subscribe",'
        b'"reason":"BTC-USD is not a valid product"}'
    )
    connection.frames(wire.as_link(), [frame], 5)
    connection.judge_all()
    status = statuses.last("BTC-USD")
    assert (status.state, status.reason) == ("down", "unknown_symbol")


async def test_lost_trades_stand_in_the_status() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [SNAPSHOT, MATCH], 5)
    trades = connection.instruments["BTC-USD"].trades
    trades.sequence.exists(13)  # MATCH is trade 10
    assert trades.give_up(11, 13, "too old", monotonic_ns())
    connection.judge_all()
    status = statuses.last("BTC-USD")
    assert (status.state, status.reason) == ("live", "trades_lost")
    assert status.detail == "3 trades lost, ids 11 to 13: too old"


async def test_a_lost_connection_voids_the_book() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [SNAPSHOT], 5)
    connection.lost(wire.as_session(), Lost("closed", "1006", 0.1, 0))
    assert statuses.states("BTC-USD") == ["connecting", "live", "recovering"]
    assert not connection.instruments["BTC-USD"].book.synced


async def test_without_trades_a_heartbeat_that_names_the_last_one_is_no_silence() -> None:
    connection, wire, _, statuses = await opened()
    connection.frames(wire.as_link(), [SNAPSHOT, MATCH], 5)
    long_ago_ns = monotonic_ns() - 400_000_000_000
    for kind in ("matches", "ticker"):
        connection._seen[f"BTC-USD@{kind}"] = long_ago_ns
    of_the_last = HEARTBEAT.replace(b'"last_trade_id":20', b'"last_trade_id":10')
    connection.frames(wire.as_link(), [of_the_last], 5)
    connection.check(wire.as_session())
    assert statuses.state("BTC-USD") == "live"
    for kind in ("matches", "ticker"):
        connection._seen[f"BTC-USD@{kind}"] = long_ago_ns
    connection.frames(wire.as_link(), [HEARTBEAT], 5)  # it names trades that never came
    connection.check(wire.as_session())
    status = statuses.last("BTC-USD")
    assert (status.state, status.detail) == ("stale", "no data of: ticker, matches")
