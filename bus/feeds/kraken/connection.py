"""The Kraken connection: one frame to its pairs, requests out, the engine's state.

First the pairs are asked for, because a book cannot be checked without their decimals; what they
are subscribed to follows from it. A book whose checksum is wrong is subscribed to anew, that pair's
alone and once; until its snapshot comes its updates are ignored.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from bus.clock import monotonic_ns
from bus.feeds.feed import Feed
from bus.feeds.kraken import endpoints, symbols
from bus.feeds.kraken.instrument_feed import InstrumentFeed
from bus.feeds.kraken.listing import Pairs
from bus.feeds.kraken.parser import (
    BookEvent,
    HeartbeatEvent,
    InstrumentEvent,
    MethodReply,
    StatusEvent,
    TickerEvent,
    TradeEvent,
    TradeRow,
    UnknownEvent,
    parse,
)
from bus.feeds.kraken.requests import Requests
from bus.feeds.kraken.trades import WHY, Step
from bus.feeds.ladder import StreamLimit
from bus.feeds.link import Link
from bus.feeds.listing import Listed, choose
from bus.feeds.session import Session
from bus.feeds.snapshot_connection import SNAPSHOT_WAIT_NS, Followed, SnapshotConnection
from bus.feeds.status import Verdict
from bus.feeds.venue_connection import SUBSCRIBE
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

FLOORS_S: Final = {endpoints.TRADES: 20.0, endpoints.TICKER: 10.0, endpoints.BOOK: 5.0}


class Connection(SnapshotConnection[InstrumentFeed]):
    """Handles one session. What it is told of the venue's pairs goes to ``pairs``."""

    book_kind = endpoints.BOOK

    def __init__(self, feed: Feed, instruments: Sequence[Listed], pairs: Pairs) -> None:
        settings = feed.settings
        set_s = {
            endpoints.TRADES: settings.stale_trades_s,
            endpoints.TICKER: settings.stale_quote_s,
            endpoints.BOOK: settings.stale_depth_s,
        }
        limits = {kind: StreamLimit(set_s[kind], FLOORS_S[kind]) for kind in endpoints.CHANNELS}
        silent_s = min(settings.silent_connection_s, endpoints.SILENT_CONNECTION_S)
        super().__init__(feed, _log, limits, silent_s)
        self._pairs = pairs
        self._listed = False
        self._listing_ns = 0
        self._system = symbols.ONLINE
        self._requests = Requests(InstrumentFeed.depth_of(settings))
        for instrument in instruments:
            self.add(instrument)

    def _make(self, instrument: Listed) -> InstrumentFeed:
        on_book = self._book_watcher(instrument.venue_symbol)
        return InstrumentFeed(self._feed, instrument, on_book, self.lateness.delays)

    def _is_served(self, one: InstrumentFeed) -> bool:
        """Whether the venue has described the pair."""
        return not one.facts.rejected and one.instrument.price_decimals is not None

    def _is_excused(self, one: InstrumentFeed) -> bool:
        return self._system != symbols.ONLINE or super()._is_excused(one)

    def _messages(self, method: str, streams: Sequence[str]) -> list[str]:
        return self._requests.change(method, streams)

    # connections

    async def _begin(self, session: Session, link: Link) -> None:
        """Ask for the pairs; their subscriptions follow when they are there."""
        self._listed = False
        self._listing_ns = monotonic_ns()
        await self._list_pairs(session, link)

    async def _begin_succession(self, session: Session, link: Link) -> None:
        await self._list_pairs(session, link)
        await super()._begin_succession(session, link)

    async def _list_pairs(self, session: Session, link: Link, *, again: bool = False) -> None:
        for message in self._requests.list_pairs(again=again):
            await session.send(link, message)

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """A ping when it is due, the pairs if they did not come, books, missing trades."""
        if self._requests.ping_due(now_mono_ns):
            self._later(session.send(link, self._requests.ping()))
        if not self._listed:
            if now_mono_ns - self._listing_ns >= SNAPSHOT_WAIT_NS:
                self._listing_ns = now_mono_ns
                self._later(self._list_pairs(session, link, again=True))
            return
        super()._look_after(session, link, now_mono_ns)
        for one, followed in self._by_name.values():
            self._look_for_trades(session, followed.link or link, one, now_mono_ns)

    def _look_for_trades(
        self, session: Session, link: Link, one: InstrumentFeed, now_mono_ns: int
    ) -> None:
        """Have the last trades told again, which brings those that were missed."""
        missing = one.trades.sequence.missing
        step = one.trade_watch.look(bool(missing), now_mono_ns, random.random())
        symbol = one.instrument.symbol
        if step is Step.ASK:
            first_id, last_id = missing[0][0], missing[-1][1]
            _log.warning("trades missing", symbol=symbol, first=first_id, last=last_id)
            self._ask_again(session, link, [one.streams[endpoints.TRADES]])
        elif step is Step.GIVE_UP:
            lost = one.trades.give_up(missing[0][0], missing[-1][1], WHY, now_mono_ns)
            _log.error("trades lost", symbol=symbol, detail=lost)

    def verdict(self, symbol: str) -> Verdict:
        """The state of one pair of this connection."""
        if (
            self.facts.open
            and self._system != symbols.ONLINE
            and not self.instruments[symbol].facts.rejected
        ):
            return Verdict("closed", self._system, "the venue's engine matches no orders now")
        return super().verdict(symbol)

    # frames

    def _take(self, link: Link, frame: bytes, recv_ns: int, mono_ns: int) -> int:
        """One frame to its pairs; 1 if the venue serves us."""
        event = parse(frame)
        if isinstance(event, BookEvent):
            is_snapshot = event.type == "snapshot"
            for row in event.data:
                found = self._known(row.symbol)
                if found is not None and self._takes_book(found[1], link, is_snapshot):
                    self._note(found[0], endpoints.BOOK, mono_ns)
                    found[0].on_book(row, is_snapshot, recv_ns, mono_ns)
        elif isinstance(event, TickerEvent):
            for ticker in event.data:
                found = self._known(ticker.symbol)
                if found is not None and link is found[1].link:
                    self._note(found[0], endpoints.TICKER, mono_ns)
                    found[0].on_ticker(ticker, recv_ns)
        elif isinstance(event, TradeEvent):
            self._on_trades(event, recv_ns, mono_ns)
        elif isinstance(event, InstrumentEvent):
            self._on_instruments(link, event)
        elif isinstance(event, StatusEvent):
            self._on_system(event.system)
            return 0
        elif isinstance(event, MethodReply):
            if not event.success:
                what = {"method": event.method, "symbol": event.symbol or "-"}
                _log.error("request refused", detail=event.error[:200], **what)
            return 0
        elif isinstance(event, UnknownEvent):
            self._unknown(event.name)
            return 0
        else:
            assert isinstance(event, HeartbeatEvent)
        return 1

    def _on_trades(self, event: TradeEvent, recv_ns: int, mono_ns: int) -> None:
        past: dict[str, list[TradeRow]] = {}
        for row in event.data:
            if event.type == "snapshot":
                past.setdefault(row.symbol, []).append(row)
                continue
            found = self._known(row.symbol)
            if found is not None:
                self._note(found[0], endpoints.TRADES, mono_ns)
                found[0].on_trade(row, recv_ns)
        for pair, rows in past.items():
            found = self._known(pair)
            if found is not None:
                found[0].facts.has_data = True
                found[0].on_past_trades(rows, recv_ns)

    def _known(self, pair: str) -> tuple[InstrumentFeed, Followed] | None:
        found = self._by_name.get(pair)
        if found is None:
            self._unknown(pair)
        return found

    def _note(self, one: InstrumentFeed, channel: str, mono_ns: int) -> None:
        stream = one.streams[channel]
        if stream in self._seen:
            self._seen[stream] = mono_ns
        one.facts.has_data = True

    def _on_instruments(self, link: Link, event: InstrumentEvent) -> None:
        """The pairs there are: refuse what is not among them, subscribe to the rest."""
        listed = symbols.listed(event.data.pairs)
        new_streams: list[str] = []
        if event.type == "update":
            self._pairs.update(listed)
        elif link is not self._newest:
            return
        else:
            self._pairs.take(listed)
            for symbol, why in choose(list(self.instruments), listed).rejected.items():
                self.refuse(symbol, why)
        for symbol in self.instruments:
            if symbol in listed:
                new_streams += self.list_as(listed[symbol])
        if event.type == "snapshot" and not self._listed:
            self._listed = True
            new_streams = self._wanted_streams()
        if self._session is not None:
            self._later(self._say(self._session, link, SUBSCRIBE, new_streams))
        self.judge_all()

    def _on_system(self, system: str) -> None:
        if system != self._system:
            _log.warning("engine", state=system)
            self._system = system
            self.judge_all()
