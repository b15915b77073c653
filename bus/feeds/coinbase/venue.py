"""The Coinbase Exchange feed: which products on which connections, missing trades, the clock.

Wiring only; frames are handled in ``connection``, products in ``instrument_feed``.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.coinbase import endpoints
from bus.feeds.coinbase.connection import Connection
from bus.feeds.coinbase.parser import parse_trades
from bus.feeds.coinbase.symbols import guess, parse_products
from bus.feeds.errors import ParseError, RestError
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.listing import Choice, Listed, choose
from bus.feeds.rest import RestClient
from bus.feeds.rotation import rotate_all
from bus.feeds.session import Session
from bus.feeds.status import ConnectionFacts, Verdict, judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.coinbase")

CHECK_EVERY_S: Final = 0.25
"""Silence and states are looked at this often: a change shows well within a second."""
FIRST_ANSWER_S: Final = 3.0
"""How long the channels wait for the list of products."""
REPAIR_TRIES: Final = 5
"""Failed REST calls in a row after which missing trades are given up."""
REPAIR_PAGES: Final = 10
"""Pages of a thousand trades fetched for one gap; what lies before them is given up."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    made = CoinbaseFeed(feed)
    feed.commands.update({"rotate": made.rotate, "list_symbols": made.list_symbols})
    return made


class CoinbaseFeed:
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._served: list[tuple[Session, Connection]] = []
        self._rejected: dict[str, str] = {}
        self._rest: RestClient | None = None
        self._starting = ConnectionFacts()

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        self._judge_feed()
        base = feed.rest_base or endpoints.REST_BASE
        async with RestClient(
            base,
            budget_per_minute=feed.settings.rest_weight_per_minute or endpoints.CALLS_PER_MINUTE,
            timeout_s=feed.settings.rest_timeout_s,
            shared=feed.weight_ledger(base),
            capture=feed.capture,
        ) as rest:
            self._rest = rest
            choice, known = await self._choose(rest)
            for symbol, why in choice.rejected.items():
                self._reject(symbol, why)
            self._connect(choice.instruments, known)
            async with asyncio.TaskGroup() as tasks:
                helpers = [tasks.create_task(self._clock())]
                if not known:
                    helpers.append(tasks.create_task(self._list_later(rest)))
                for session, connection in self._served:
                    tasks.create_task(session.run())
                    helpers += [
                        tasks.create_task(self._repair_trades(rest, connection, symbol))
                        for symbol in connection.instruments
                    ]
                feed.started()
                await feed.stopping.wait()
                for session, _ in self._served:
                    session.stop()
                for helper in helpers:
                    helper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of sessions, books, trades and REST, summed over all products."""
        sessions = [session for session, _ in self._served]
        instruments = [
            one for _, connection in self._served for one in connection.instruments.values()
        ]
        books = [one.book.stats() for one in instruments]
        trades = [one.trades.losses() for one in instruments]
        report: dict[str, int | float | str] = {
            "connections": sum(session.connected for session in sessions),
            "reconnects": sum(session.reconnects for session in sessions),
            "book_syncs": sum(book.syncs for book in books),
            "resyncs": sum(max(0, book.syncs - 1) for book in books),
            "book_crossed": sum(book.crossed for book in books),
            "trade_gaps": sum(losses.gaps for losses in trades),
            "trades_repaired": sum(losses.repaired for losses in trades),
            "trades_lost": sum(losses.lost for losses in trades),
            "trade_ids_skipped": sum(losses.skipped for losses in trades),
        }
        if self._rest is not None:
            report["rest_calls"] = self._rest.calls
            report["rest_failures"] = self._rest.failures
        return report

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Replace every connection by a new one, opened before the old one is closed."""
        return await rotate_all([session for session, _ in self._served], self._feed.counters)

    async def list_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is served, each with its state, and what the venue does not list."""
        states, refused = {}, dict(self._rejected)
        for _, connection in self._served:
            for symbol, one in connection.instruments.items():
                if one.facts.rejected:
                    refused[symbol] = one.facts.rejected
                else:
                    states[symbol] = connection.verdict(symbol).state
        return {"symbols": list(states), "states": states, "refused": refused}

    def broker_attached(self) -> None:
        """Books are deltas: the broker's cache needs a whole one to start from."""
        now_wall_ns, now_mono_ns = now_ns(), monotonic_ns()
        for _, connection in self._served:
            for one in connection.instruments.values():
                one.book.publish_snapshot(now_wall_ns, now_mono_ns)

    # symbols

    async def _choose(self, rest: RestClient) -> tuple[Choice, bool]:
        """What to serve, and whether the venue was asked: streams do not wait for its REST."""
        wanted = self._feed.settings.symbols
        try:
            async with asyncio.timeout(FIRST_ANSWER_S):
                listed = await self._products(rest)
        except (RestError, ParseError, TimeoutError) as error:
            _log.warning("symbols not checked yet", detail=str(error) or "no answer")
            return Choice(tuple(guess(symbol) for symbol in dict.fromkeys(wanted)), {}), False
        return choose(wanted, listed), True

    async def _products(self, rest: RestClient) -> dict[str, Listed]:
        reply = await rest.get(endpoints.PRODUCTS_PATH, {})
        return parse_products(reply.body)

    async def _list_later(self, rest: RestClient) -> None:
        """Ask for the products until an answer comes; then refuse those that do not exist."""
        attempt = 0
        while True:
            await asyncio.sleep(self._feed.backoff.delay_s(attempt, random.random()))
            attempt += 1
            try:
                listed = await self._products(rest)
            except (RestError, ParseError) as error:
                _log.warning("symbols not checked yet", detail=str(error), attempt=attempt)
                continue
            break
        choice = choose(self._feed.settings.symbols, listed)
        for symbol, why in choice.rejected.items():
            self._reject(symbol, why)
        for _, connection in self._served:
            for symbol, one in connection.instruments.items():
                if symbol in choice.rejected:
                    one.facts.rejected = choice.rejected[symbol]
                else:
                    connection.list_as(listed[symbol])

    def _reject(self, symbol: str, why: str) -> None:
        self._rejected[symbol] = why
        _log.error("symbol refused", symbol=symbol, reason=why)
        self._feed.board.say(symbol, Verdict("down", "unknown_symbol", why), now_ns())

    # connections

    def _connect(self, instruments: tuple[Listed, ...], known: bool) -> None:
        feed = self._feed
        url = feed.ws_base or endpoints.WS_BASE
        a_connection = max(1, feed.settings.streams_per_connection // len(endpoints.CHANNELS))
        for start in range(0, len(instruments), a_connection):
            part = instruments[start : start + a_connection]
            connection = Connection(feed, part, checked=known)
            settings = feed.session_settings(f"{feed.name}.{len(self._served) + 1}")
            session = Session(lambda: url, url, connection, settings, attempts=feed.attempts)
            self._served.append((session, connection))

    async def _clock(self) -> None:
        while True:
            for session, connection in self._served:
                connection.check(session)
            self._judge_feed()
            await asyncio.sleep(CHECK_EVERY_S)

    def _judge_feed(self) -> None:
        connections = [connection.facts for _, connection in self._served] or [self._starting]
        verdicts = [
            connection.verdict(symbol)
            for _, connection in self._served
            for symbol in connection.instruments
        ]
        served = {symbol for _, connection in self._served for symbol in connection.instruments}
        verdicts += [
            Verdict("down", "unknown_symbol") for symbol in self._rejected if symbol not in served
        ]
        verdict = judge_feed(connections, verdicts)
        if self._feed.board.say("", verdict, now_ns()):
            _log.info(
                "feed", state=verdict.state, reason=verdict.reason, detail=verdict.detail or "-"
            )

    # trades

    async def _repair_trades(self, rest: RestClient, connection: Connection, symbol: str) -> None:
        """Fetch the trades of one product that are missing; nobody else waits for it."""
        trades = connection.instruments[symbol].trades
        wanted = connection.repair_wanted(symbol)
        attempt = 0
        while True:
            await wanted.wait()
            wanted.clear()
            if not trades.missing:
                attempt = 0
                continue
            first_id, last_id = trades.missing[0]
            _log.warning("trades missing", symbol=symbol, first=first_id, last=last_id)
            try:
                why = await self._fetch(rest, connection, symbol, first_id, last_id)
            except (RestError, ParseError) as error:
                why = str(error)
                _log.warning("no trades", symbol=symbol, detail=why, attempt=attempt)
            if not trades.missing:
                attempt = 0
                continue
            wanted.set()
            attempt += 1
            if attempt < REPAIR_TRIES:
                await asyncio.sleep(self._feed.backoff.delay_s(attempt, random.random()))
                continue
            attempt = 0
            gone = trades.give_up(first_id, last_id)
            if gone:
                connection.trades_lost(symbol, gone, why)

    async def _fetch(
        self, rest: RestClient, connection: Connection, symbol: str, first_id: int, last_id: int
    ) -> str:
        """Pages of older and older trades until ``first_id``; why some may be missing still.

        A page that shows a trade on either side of an id, but not that id, says that there is no
        such trade. Whatever proved the gap is the trade ``last_id`` or the one after it, so a page
        that shows neither is not up to date yet. Raises RestError, ParseError.
        """
        one = connection.instruments[symbol]
        path = endpoints.trades_path(one.instrument.venue_symbol)
        before_id = last_id + 2
        for _ in range(REPAIR_PAGES):
            limit = min(endpoints.TRADES_PER_CALL, before_id - first_id + 1)
            reply = await rest.get(path, {"after": before_id, "limit": limit})
            page = parse_trades(reply.body)
            for item in reversed(page):
                if first_id <= item.trade_id <= last_id:
                    one.on_fetched(item, reply.recv_ns)
            ids = [item.trade_id for item in page if item.trade_id < before_id]
            if not ids:
                return "the venue tells no older ones"
            if before_id > last_id and max(ids) < last_id:
                return "the venue does not show them yet"
            one.trades.skip(max(min(ids), first_id), last_id)
            if min(ids) <= first_id:
                return ""
            before_id = min(ids)
        return "too many are missing"
