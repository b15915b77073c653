"""The least a venue has to say of itself, and a session and a link that only take notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from bus.book import Level
from bus.book.snapshot_stream import WholeBook
from bus.clock import monotonic_ns
from bus.config import FeedSettings
from bus.feeds.depth_book import BookLimits, DepthBook
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.handover import Order
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.numbered_connection import NumberedConnection
from bus.feeds.session import Session
from bus.feeds.snapshot_connection import SnapshotConnection
from bus.feeds.status import SymbolFacts
from bus.feeds.stream_book import StreamBook
from bus.runtime import get_logger
from tests.feeds.tap import Statuses, Tap, make_feed

KINDS = ("trade", "book")
LIMITS = {"trade": StreamLimit(10.0), "book": StreamLimit(10.0)}
_log = get_logger("feeds.toy")


@dataclass
class Notes:
    """Stands where a session and its link would."""

    sent: list[str] = field(default_factory=list)
    name: str = "toy"
    last_frame_mono_ns: int = field(default_factory=monotonic_ns)
    aborted: str = ""
    rotations: int = 0
    closing: bool = False

    @property
    def link(self) -> Link:
        return cast(Link, self)

    @property
    def links(self) -> tuple[Link, ...]:
        return (self.link,)

    @property
    def transport(self) -> Notes:
        return self

    def is_closing(self) -> bool:
        return self.closing

    async def send(self, link: Link, message: str, *, again: bool = False) -> None:
        self.sent.append(message)

    def abort(self, reason: str) -> None:
        self.aborted = reason

    def rotate(self) -> None:
        self.rotations += 1

    def as_session(self) -> Session:
        return cast(Session, self)


class ToyInstrument:
    """What both kinds of toy instruments have in common."""

    def __init__(self, instrument: Listed) -> None:
        self.instrument = instrument
        self.facts = SymbolFacts(book_lost="starting", market_closed=not instrument.trading)
        self.streams = {kind: f"{instrument.venue_symbol}@{kind}" for kind in KINDS}
        self.restarts = 0
        self.loss = ""
        self.seen: list[object] = []

    def restart(self) -> None:
        self.restarts += 1

    def describe(self, instrument: Listed, recv_ns: int) -> bool:
        anew = instrument.price_decimals != self.instrument.price_decimals
        self.instrument = instrument
        self.facts.market_closed = not instrument.trading
        return anew

    def lost_lately(self, now_mono_ns: int) -> str:
        return self.loss


class StreamedToy(ToyInstrument):
    """Its book begins with a snapshot on the stream."""

    def __init__(self, feed: Feed, instrument: Listed, on_book: Callable[[], None]) -> None:
        super().__init__(instrument)
        self.book: StreamBook[Level] = StreamBook(
            feed.publisher, "sim", instrument.symbol, BookLimits(), WholeBook(100), on_book
        )


class NumberedToy(ToyInstrument):
    """Its book is joined by numbers."""

    def __init__(self, feed: Feed, instrument: Listed, on_book: Callable[[], None]) -> None:
        super().__init__(instrument)
        self.last = 0
        self.book: DepthBook[Diff] = DepthBook(
            feed.publisher, "sim", instrument.symbol, BookLimits(), on_book
        )
        self.routes = {
            self.streams["trade"]: self.on_trade,
            self.streams["book"]: self.on_book,
        }
        self.orders: list[tuple[str, Order | None]] = [
            (self.streams["trade"], Order(lambda event: int(event), lambda: self.last)),
            (self.streams["book"], None),
        ]

    def on_trade(self, event: int, recv_ns: int) -> None:
        if event > self.last:
            self.last = event
            self.seen.append(event)

    def on_book(self, event: int, recv_ns: int) -> None:
        self.book.on_diff(Diff(event))


@dataclass
class Diff:
    """One numbered change."""

    number: int
    recv_ns: int = 5
    venue_ts_ns: int = 5
    bids: list[Level] = field(default_factory=lambda: [(1.0, 1.0)])
    asks: list[Level] = field(default_factory=list)

    @property
    def first_id(self) -> int:
        return self.number

    @property
    def last_id(self) -> int:
        return self.number


def texts(method: str, streams: Sequence[str]) -> list[str]:
    return [f"{method} {','.join(streams)}"]


class StreamedConnection(SnapshotConnection[StreamedToy]):
    """``BTC@book snapshot``, ``BTC@book bad``, ``BTC@trade``."""

    book_kind = "book"

    def __init__(self, feed: Feed, *symbols: str) -> None:
        super().__init__(feed, _log, LIMITS, 60.0)
        for symbol in symbols:
            self.add(Listed(symbol, symbol))

    def _make(self, instrument: Listed) -> StreamedToy:
        on_book = self._book_watcher(instrument.venue_symbol)
        return StreamedToy(self._feed, instrument, on_book)

    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        return texts(method, streams)

    def _take(self, link: Link, frame: bytes, recv_ns: int, mono_ns: int) -> int:
        stream, _, what = frame.decode().partition(" ")
        name, _, kind = stream.partition("@")
        if not kind:
            raise ParseError("shape", "no stream", frame)
        found = self._by_name.get(name)
        if found is None:
            self._unknown(name)
            return 0
        one, followed = found
        self._seen[stream] = mono_ns
        one.facts.has_data = True
        if kind == "trade":
            one.seen.append(frame)
        elif self._takes_book(followed, link, what == "snapshot"):
            if what == "snapshot":
                one.book.on_snapshot([(1.0, 1.0)], [(2.0, 1.0)], None, None, recv_ns, mono_ns)
            else:
                price = 3.0 if what == "bad" else 1.5
                one.book.on_update([(price, 1.0)], [], None, None, recv_ns)
        return 1


class NumberedToyConnection(NumberedConnection[NumberedToy]):
    """``BTC@trade 7``, ``BTC@book 101``."""

    book_kind = "book"

    def __init__(self, feed: Feed, *symbols: str) -> None:
        super().__init__(feed, _log, LIMITS, 60.0, read_numbered)
        for symbol in symbols:
            self.add(Listed(symbol, symbol))

    def _make(self, instrument: Listed) -> NumberedToy:
        symbol = instrument.symbol
        return NumberedToy(self._feed, instrument, lambda: self._on_book(symbol))

    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        return texts(method, streams)

    def _on_other(self, link: Link, stream: str, event: int) -> None:
        self._unknown(stream.partition("@")[0])


def read_numbered(frame: bytes) -> tuple[str, int]:
    stream, _, number = frame.decode().partition(" ")
    return stream, int(number)


def toy_feed(**settings: float) -> tuple[Feed, Tap, Statuses]:
    tap, statuses = Tap(), Statuses()
    return make_feed(tap, statuses, FeedSettings(**settings), name="toy"), tap, statuses  # type: ignore[arg-type]
