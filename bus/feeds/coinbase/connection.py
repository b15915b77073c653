"""The Coinbase connection and the products on it: frames to events, events to products.

This is the handler of a :class:`~bus.feeds.session.Session`. Nothing on this venue's book channel
is numbered, so a book is trusted until it is crossed or its product's heartbeat stays away; then
that product alone is unsubscribed from and subscribed to, which brings a new snapshot.

While a connection is being replaced two of them speak. Trades are told by id; a product's book
goes over to the new connection with the snapshot that comes there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.backoff import Backoff
from bus.feeds.coinbase import endpoints
from bus.feeds.coinbase.instrument_feed import InstrumentFeed
from bus.feeds.coinbase.parser import (
    ErrorEvent,
    Event,
    HeartbeatEvent,
    MatchEvent,
    SnapshotEvent,
    SubscriptionsEvent,
    TickerEvent,
    UpdateEvent,
    parse,
)
from bus.feeds.errors import ParseError
from bus.feeds.feed import Feed
from bus.feeds.link import Link
from bus.feeds.listing import Listed
from bus.feeds.log_limit import LogLimit
from bus.feeds.pace import Pace
from bus.feeds.session import Lost, Session
from bus.feeds.status import ConnectionFacts, Verdict, judge_symbol
from bus.feeds.watchdog import Watchdog
from bus.runtime import get_logger

_log = get_logger("feeds.coinbase")

SNAPSHOT_WAIT_NS: Final = 10_000_000_000
"""A subscription without its snapshot for so long is made again."""
RESUBSCRIBE_EVERY_NS: Final = 60_000_000_000
"""A channel that stays silent is subscribed to afresh at most this often."""
LOSS_SHOWN_NS: Final = 60_000_000_000
SUCCESSOR_S: Final = 15.0


class _Product:
    """What the connection remembers of one product beside its feed."""

    __slots__ = ("feed", "link", "loss", "loss_ns", "pace", "repair", "silent_due_ns")

    def __init__(self, feed: InstrumentFeed, backoff: Backoff) -> None:
        self.feed = feed
        self.pace = Pace(backoff)
        self.link: Link | None = None
        """Whose book counts."""
        self.silent_due_ns = 0
        self.loss = ""
        self.loss_ns = 0
        self.repair = asyncio.Event()


class Connection:
    """Handles one session. ``checked``: the venue has been asked which products there are."""

    def __init__(self, feed: Feed, instruments: Sequence[Listed], *, checked: bool) -> None:
        self._feed = feed
        self._checked = checked
        self._counters = feed.counters
        self._log_bad = LogLimit(_log.warning)
        self._watchdog = Watchdog(
            min(feed.settings.silent_connection_s, endpoints.SILENT_CONNECTION_S)
        )
        self._stale_after_s = {
            endpoints.HEARTBEAT: endpoints.HEARTBEAT_STALE_S,
            endpoints.TRADES: feed.settings.stale_trades_s,
            endpoints.TICKER: feed.settings.stale_trades_s,  # it speaks after a match only
            endpoints.BOOK: feed.settings.stale_depth_s,
        }
        self._session: Session | None = None
        self._opened_ns = 0
        self._newest: Link | None = None
        self._switched = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._products: dict[str, _Product] = {}
        self.facts = ConnectionFacts()
        self.instruments: dict[str, InstrumentFeed] = {}
        now_mono_ns = monotonic_ns()
        for instrument in instruments:
            product = instrument.venue_symbol
            one = InstrumentFeed(feed, instrument, partial(self._on_book, product))
            one.describe(instrument, now_ns())
            self.instruments[instrument.symbol] = one
            self._products[product] = _Product(one, feed.backoff)
            for kind, stream in one.streams.items():
                self._watchdog.watch(stream, self._stale_after_s[kind], now_mono_ns)

    # what a session calls

    def opening(self, session: Session) -> None:
        """Nothing to prepare."""
        self._session = session

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Void what an earlier connection left, then subscribe to everything."""
        self._session = session
        old, self._newest = self._newest, link
        if not successor:
            self._opened_ns = monotonic_ns()
            self._watchdog.restart(self._opened_ns)
            self.facts.open = True
            for one in self._products.values():
                one.link = link
                one.pace.asked_ns = self._opened_ns
                one.feed.restart()
                one.feed.book.start("book_sync")
            self.judge_all()
        await self._subscribe_all(session, link)
        if successor:
            await self._take_over(link, old)

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """The hot path: parse, route, publish."""
        market = 0
        mono_ns = link.last_frame_mono_ns
        for frame in batch:
            try:
                market += self._route(link, parse(frame), recv_ns, mono_ns)
            except ParseError as error:
                self._malformed(error)
        self._counters.messages_in += len(batch)
        if market:
            self.facts.failures = 0
            self.facts.was_live = True
        return market

    def lost(self, session: Session, lost: Lost) -> None:
        """The connection is gone: every book on it is void."""
        facts = self.facts
        facts.open = False
        facts.failures = lost.attempt + 1
        facts.reason, facts.detail = lost.reason, lost.detail
        facts.fatal = lost.reason in ("unauthorized", "limited")
        for one in self._products.values():
            one.link = None
            one.feed.book.stop(lost.reason)
        self.judge_all()

    # what the venue's clock calls

    def check(self, session: Session) -> None:
        """Call a few times a second: silence, lost books, missing trades, statuses."""
        now_mono_ns = monotonic_ns()
        link = session.link
        if link is not None and self.facts.open:
            findings = self._watchdog.check(now_mono_ns, link.last_frame_mono_ns)
            if findings.silent:
                session.abort("silent")
            self._counters.stale += len(findings.went_stale)
            self._look_after(session, link, now_mono_ns)
        now_wall_ns = now_ns()
        for one in self._products.values():
            one.feed.book.tick(now_wall_ns, now_mono_ns)
            if one.feed.trades.missing:
                one.repair.set()
        self.judge_all()

    def verdict(self, symbol: str) -> Verdict:
        """The state of one product of this connection."""
        one = self.instruments[symbol]
        verdict = judge_symbol(self.facts, one.facts)
        product = self._products[one.instrument.venue_symbol]
        lost_lately = product.loss and monotonic_ns() - product.loss_ns < LOSS_SHOWN_NS
        if verdict.state == "live" and lost_lately:
            return Verdict("live", "trades_lost", product.loss)
        return verdict

    def judge_all(self) -> None:
        """Publish whatever state has changed."""
        for symbol in self.instruments:
            self._judge(symbol)

    def list_as(self, instrument: Listed) -> None:
        """The list of products came late: take over what it says about one served already."""
        self.instruments[instrument.symbol].describe(instrument, now_ns())

    def repair_wanted(self, symbol: str) -> asyncio.Event:
        """Set while trades of this symbol are missing."""
        return self._products[self.instruments[symbol].instrument.venue_symbol].repair

    def trades_lost(self, symbol: str, count: int, detail: str) -> None:
        """So many trades cannot be had any more: say so in the status for a minute."""
        one = self._products[self.instruments[symbol].instrument.venue_symbol]
        one.loss = f"{count} trades lost: {detail}"
        one.loss_ns = monotonic_ns()
        _log.error("trades lost", symbol=symbol, count=count, detail=detail)
        self._judge(symbol)

    # frames

    def _route(self, link: Link, event: Event, recv_ns: int, mono_ns: int) -> int:
        """One event to its product; 1 if it was market data."""
        if isinstance(event, SubscriptionsEvent):
            return 0
        if isinstance(event, ErrorEvent):
            self._complained(event)
            return 0
        one = self._products.get(getattr(event, "product_id", ""))
        if one is None:
            self._unknown(getattr(event, "name", type(event).__name__))
            return 0
        feed = one.feed
        feed.facts.has_data = True
        seen = self._watchdog.seen
        if isinstance(event, UpdateEvent):
            if link is one.link:
                feed.on_update(event, recv_ns)
                seen[feed.streams[endpoints.BOOK]] = mono_ns
        elif isinstance(event, MatchEvent):
            if not event.is_past or link is one.link:  # a successor's may be ahead of our own
                feed.on_match(event, recv_ns)
            seen[feed.streams[endpoints.TRADES]] = mono_ns
        elif isinstance(event, TickerEvent):
            feed.on_ticker(event, recv_ns)
            seen[feed.streams[endpoints.TICKER]] = mono_ns
        elif isinstance(event, HeartbeatEvent):
            if link is one.link:
                feed.on_heartbeat(event)
            seen[feed.streams[endpoints.HEARTBEAT]] = mono_ns
        elif isinstance(event, SnapshotEvent) and link in (one.link, self._newest):
            one.link = link
            feed.on_snapshot(event, recv_ns, mono_ns)
            seen[feed.streams[endpoints.BOOK]] = mono_ns
            self._note_switch()
        return 1

    def _complained(self, event: ErrorEvent) -> None:
        words = f"{event.message}: {event.reason}" if event.reason else event.message
        _log.error("request refused", detail=words[:200])
        if "not a valid product" not in event.reason:
            return
        for product, one in self._products.items():
            if event.reason.startswith(f"{product} "):
                one.feed.facts.rejected = f"the venue lists no {product}"

    def _unknown(self, name: str) -> None:
        self._counters.unknown += 1
        self._log_bad(monotonic_ns(), "unknown", "unknown event dropped", type=name[:80])

    def _malformed(self, error: ParseError) -> None:
        self._counters.malformed += 1
        self._log_bad(
            monotonic_ns(),
            error.reason,
            "malformed frame dropped",
            reason=error.reason,
            detail=error.detail,
            frame=error.frame,
        )

    # subscriptions

    async def _subscribe_all(self, session: Session, link: Link) -> None:
        """Several products in one message once they are known to exist: one wrong one fails all."""
        products = [name for name, one in self._products.items() if not one.feed.facts.rejected]
        step = endpoints.PRODUCTS_PER_SUBSCRIBE if self._checked else 1
        for start in range(0, len(products), step):
            await session.send(link, endpoints.subscribe(products[start : start + step]))

    async def _take_over(self, link: Link, old: Link | None) -> None:
        """Wait until every book has come on the successor; raises TimeoutError, all undone."""
        self._switched.clear()
        self._note_switch()
        try:
            await asyncio.wait_for(self._switched.wait(), SUCCESSOR_S)
        except BaseException:
            self._newest = old
            for one in self._products.values():
                if one.link is link:
                    one.link = old
                    one.feed.book.lose("rotation")
            raise

    def _note_switch(self) -> None:
        if all(
            one.link is self._newest or one.feed.facts.rejected for one in self._products.values()
        ):
            self._switched.set()

    def _look_after(self, session: Session, link: Link, now_mono_ns: int) -> None:
        """Subscribe again to what has fallen silent, is wrong or never came."""
        for product, one in self._products.items():
            feed = one.feed
            stale = [kind for kind, name in feed.streams.items() if self._watchdog.is_stale(name)]
            feed.facts.stale = tuple(stale)
            if feed.facts.rejected:
                continue
            if endpoints.HEARTBEAT in stale and feed.book.synced:
                feed.book.lose("heartbeat")
            waited = now_mono_ns - one.pace.asked_ns >= SNAPSHOT_WAIT_NS
            if feed.book.resubscribe:
                self._book_again(product)
            elif not feed.book.synced and waited:
                self._ask_again(session, link, product, endpoints.CHANNELS)
            elif stale and now_mono_ns >= one.silent_due_ns:
                one.silent_due_ns = now_mono_ns + RESUBSCRIBE_EVERY_NS
                _log.warning("silent channels", product=product, channels=",".join(stale))
                if endpoints.BOOK in stale:
                    feed.book.start("silent")
                self._ask_again(session, link, product, stale)

    def _book_again(self, product: str) -> None:
        """Have a lost book sent anew, at once the first time, then with growing pauses."""
        one = self._products[product]
        session = self._session
        if session is None or one.link is None:
            return
        if not one.pace.may_ask(monotonic_ns(), random.random()):
            return
        heartbeat = one.feed.book.lost_reason == "heartbeat"
        one.feed.book.start(one.feed.book.lost_reason)
        self._ask_again(
            session, one.link, product, endpoints.CHANNELS if heartbeat else (endpoints.BOOK,)
        )

    def _ask_again(
        self, session: Session, link: Link, product: str, channels: Sequence[str]
    ) -> None:
        self._products[product].pace.asked_ns = monotonic_ns()

        async def ask() -> None:
            await session.send(link, endpoints.unsubscribe([product], channels))
            await session.send(link, endpoints.subscribe([product], channels))

        task = asyncio.ensure_future(ask())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # states

    def _on_book(self, product: str) -> None:
        """A book was gained or lost."""
        one = self._products.get(product)
        if one is None:
            return
        book, facts = one.feed.book, one.feed.facts
        if book.synced:
            _log.info("book in step", product=product, syncs=book.syncs)
        elif book.resubscribe:
            self._counters.gaps += 1
            _log.warning("book lost", product=product, reason=book.lost_reason)
        facts.book_lost = "" if book.synced else book.lost_reason
        if book.resubscribe:
            self._book_again(product)
        self._judge(one.feed.instrument.symbol)

    def _judge(self, symbol: str) -> None:
        verdict = self.verdict(symbol)
        if verdict.state == "live":
            self.instruments[symbol].facts.was_live = True
        if self._feed.board.say(symbol, verdict, now_ns()):
            _log.info("symbol", symbol=symbol, state=verdict.state, reason=verdict.reason)
