"""The Finnhub feed: one connection, news and day figures over REST, the clock.

Wiring only; frames are handled in ``connection``, news in ``news``.
"""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bus.clock import now_ns
from bus.errors import ConfigError
from bus.feeds.budget import WeightLedger
from bus.feeds.commands import Refusal, symbols_answer, symbols_argument
from bus.feeds.errors import CommandRefused, KeyInUse, ParseError, RestError
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.finnhub import endpoints
from bus.feeds.finnhub.connection import Connection
from bus.feeds.finnhub.directory import Directory
from bus.feeds.finnhub.news import NewsDesk
from bus.feeds.finnhub.parser import (
    parse_market_status,
    parse_news,
    parse_quote,
    parse_symbols,
)
from bus.feeds.finnhub.symbols import choose
from bus.feeds.rest import RestClient
from bus.feeds.session import Session
from bus.feeds.shared_file import OnlyOne, Shared, file_name
from bus.feeds.status import Patience, Verdict, judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.finnhub")

LIST_EVERY_S: Final = 86_400.0
KEY_WAIT_S: Final = 5.0
KEY_LOOK_S: Final = 0.1
KEY_VARIABLE: Final = "FINNHUB_API_KEY"
CHECK_EVERY_S: Final = 0.25
MARKET_EVERY_S: Final = 60.0
QUOTE_EVERY_S: Final = 900.0
"""The venue asks not to be polled for quotes; trades carry the price in between."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running. Raises ConfigError when there is no API key."""
    venue = FinnhubFeed(feed, api_key(feed))
    feed.commands.update(
        rotate=venue.rotate,
        add_symbols=venue.add_symbols,
        remove_symbols=venue.remove_symbols,
        list_symbols=venue.list_symbols,
    )
    return venue


def api_key(feed: Feed) -> str:
    """The key: of the file set, else of the environment; the simulator takes any.

    Raises ConfigError, whose text names the place and never the key.
    """
    if feed.simulated:
        return "simulated"
    path = feed.settings.api_key_file
    where = f"feeds.{feed.name}.api_key_file"
    if path:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError.of(where, f"the key file {path} cannot be read: {why}") from None
    else:
        key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        hint = f"set {KEY_VARIABLE} or {where}"
        raise ConfigError.of(where, "Finnhub needs an API key", hint=hint)
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError.of(where, "the API key holds characters no key has")
    return key


class FinnhubFeed:
    """One feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    def __init__(self, feed: Feed, key: str) -> None:
        self._feed = feed
        self._directory = Directory()
        self._changing = asyncio.Lock()
        self._patience = Patience(feed.settings.give_up_after_s, time.monotonic())
        self._key_lock: OnlyOne | None = None
        ledger: Shared[WeightLedger] = Shared(WeightLedger)
        if feed.shared_dir is not None:
            self._key_lock = OnlyOne(feed.shared_dir / file_name("finnhub-key", key))
            ledger = Shared(WeightLedger, feed.shared_dir / file_name("finnhub-calls", key))
        choice = choose(feed.settings.symbols, feed.venue_label)
        self._rejected = dict(choice.rejected)
        self._desk = NewsDesk(feed.publisher, feed.venue_label)
        self._connection = Connection(feed, choice.instruments, self._desk)
        base = feed.ws_base or endpoints.WS_BASE
        self._session = Session(
            lambda: endpoints.ws_url(base, key),
            base,
            self._connection,
            # one open connection a key: a second one, as for a rotation, would end both
            feed.session_settings(feed.name, rotate_after_s=0.0),
            attempts=feed.attempts,
        )
        self._rest = RestClient(
            feed.rest_base or endpoints.REST_BASE,
            budget_per_minute=feed.settings.rest_weight_per_minute
            or endpoints.CALLS_PER_MINUTE * 9 // 10,
            timeout_s=feed.settings.rest_timeout_s,
            headers={endpoints.KEY_HEADER: key},
            shared=ledger,
            calls_per_s=endpoints.CALLS_PER_S * 9 // 10,
            restricted_retry_s=feed.settings.unauthorized_retry_s,
            capture=feed.capture,
        )
        self._unavailable: set[str] = set()

    async def run(self) -> None:
        """Serve until ``feed.stopping``. Raises KeyInUse when another process has the key."""
        feed = self._feed
        await self._take_key()
        for symbol, why in self._rejected.items():
            self._reject(symbol, why)
        settings = feed.settings
        async with self._rest, asyncio.TaskGroup() as tasks:
            jobs: list[tuple[float, Callable[[], Awaitable[None]]]] = [
                (MARKET_EVERY_S, self._market_status),
                (QUOTE_EVERY_S, self._quotes),
                (settings.news_poll_s, self._category_news),
                (settings.news_poll_s * 5, self._company_news),
                (LIST_EVERY_S, self._look_up),
            ]
            helpers = [tasks.create_task(self._repeat(every_s, job)) for every_s, job in jobs]
            helpers.append(tasks.create_task(self._clock()))
            tasks.create_task(self._session.run())
            feed.started()
            await feed.stopping.wait()
            self._session.stop()
            for helper in helpers:
                helper.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of the session, of REST and of news."""
        report: dict[str, int | float | str] = {
            "connections": int(self._session.connected),
            "reconnects": self._session.reconnects,
            "news": self._desk.published,
            "news_repeats": self._desk.repeats,
            "rest_calls": self._rest.calls,
            "rest_failures": self._rest.failures,
            "rest_waiting": self._rest.waiting,
            "lateness_ms": round(self._connection.lateness.worst_ns / 1e6, 3),
        }
        skew_ns = self._feed.skew.recent_ns
        if skew_ns is not None:
            report["clock_skew_ms"] = round(skew_ns / 1e6, 3)
        return report

    # the key

    async def _take_key(self) -> None:
        """One connection a key, whatever process: a second one would end both."""
        lock = self._key_lock
        deadline_s = time.monotonic() + KEY_WAIT_S
        while lock is not None and (owner := lock.take()) is not None:
            if self._feed.stopping.is_set():
                return
            if time.monotonic() > deadline_s:
                self._feed.board.say("", Verdict("down", "key_in_use", ""), now_ns())
                raise KeyInUse(owner)
            await asyncio.sleep(KEY_LOOK_S)  # our predecessor may still be on its way out

    # commands

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Not possible here: raises CommandRefused."""
        raise CommandRefused(
            "Finnhub allows one connection a key: a new one beside the old one would end both"
        )

    async def list_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is served, each with its state."""
        connection = self._connection
        states = {symbol: connection.verdict(symbol).state for symbol in connection.instruments}
        return {"symbols": list(states), "states": states, "refused": dict(self._rejected)}

    async def add_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Subscribe to more symbols on the open connection."""
        connection = self._connection
        refusals = []
        async with self._changing:
            for symbol in symbols_argument(arguments):
                if symbol in connection.instruments:
                    continue
                choice = choose([symbol], self._feed.venue_label)
                if choice.rejected:
                    refusals.append(Refusal(symbol, choice.rejected[symbol]))
                elif connection.is_full:
                    why = "the venue takes no more symbols with this key"
                    refusals.append(Refusal(symbol, why))
                elif self._directory.is_unknown(symbol):
                    near = await asyncio.to_thread(self._directory.nearest, symbol)
                    refusals.append(Refusal(symbol, f"the venue lists no {symbol}", near))
                else:
                    self._rejected.pop(symbol, None)
                    one = connection.add(choice.instruments[0])
                    connection.market_changed()
                    one.describe(self._directory.listed(symbol), now_ns())
                    if self._session.link is not None:
                        await connection.subscribe(self._session, self._session.link, [one])
            self._judge_feed()
            return symbols_answer(list(connection.instruments), refusals)

    async def remove_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Unsubscribe; the others notice nothing. Their status says ``removed``."""
        connection = self._connection
        refusals = []
        async with self._changing:
            for symbol in symbols_argument(arguments):
                if symbol in connection.instruments:
                    for message in connection.remove(symbol):
                        if self._session.link is not None:
                            await self._session.send(self._session.link, message)
                elif self._rejected.pop(symbol, None) is None:
                    near = difflib.get_close_matches(symbol, list(connection.instruments))
                    refusals.append(Refusal(symbol, f"{symbol} is not served", near))
                    continue
                removed = Verdict("closed", "removed", "removed by an operator")
                self._feed.board.say(symbol, removed, now_ns())
            self._judge_feed()
            return symbols_answer(list(connection.instruments), refusals)

    def broker_attached(self) -> None:
        """Nothing but state and events here; the publisher has sent the states again."""

    async def _clock(self) -> None:
        while True:
            self._connection.check(self._session)
            self._judge_feed()
            await asyncio.sleep(CHECK_EVERY_S)

    def _judge_feed(self) -> None:
        connection = self._connection
        verdicts = [connection.verdict(symbol) for symbol in connection.instruments]
        verdicts += [Verdict("down", "unknown_symbol")] * len(self._rejected)
        verdict = judge_feed([connection.facts], verdicts)
        complaint = connection.complaint()
        if complaint and connection.facts.open:
            verdict = Verdict(verdict.state, "venue_error", complaint)
        if self._feed.board.say("", verdict, now_ns()):
            _log.info(
                "feed", state=verdict.state, reason=verdict.reason, detail=verdict.detail or "-"
            )

        over = self._patience.is_over(verdict, time.monotonic())
        if over and self._feed.give_up is not None:
            limit_s = self._feed.settings.give_up_after_s
            self._feed.give_up(f"nothing came for {limit_s:g} s: {verdict.reason}")

    def _reject(self, symbol: str, why: str) -> None:
        self._rejected[symbol] = why
        _log.error("symbol refused", symbol=symbol, reason=why)
        self._feed.board.say(symbol, Verdict("down", "unknown_symbol", why), now_ns())

    # REST

    async def _look_up(self) -> None:
        """Read the venue's lists where they can be had: refuse what is in none, describe the rest.

        A symbol that no list can tell about is served; whether it exists shows when data comes.
        """
        directory = self._directory
        symbols = [one.instrument.venue_symbol for one in self._connection.instruments.values()]
        for path, exchange in directory.wanted(symbols):
            got = await self._get(path, {"exchange": exchange})
            if got is None:
                continue
            try:
                listed = await asyncio.to_thread(parse_symbols, got[0])
            except ParseError as error:
                _log.warning("malformed list of symbols", path=path, detail=error.detail)
                continue
            directory.take(exchange, listed)
        for symbol, one in list(self._connection.instruments.items()):
            if directory.is_unknown(symbol):
                near = await asyncio.to_thread(directory.nearest, symbol)
                hint = f"; nearest: {', '.join(near)}" if near else ""
                one.facts.rejected = f"the venue lists no {symbol}{hint}"
                _log.error("symbol refused", symbol=symbol, reason=one.facts.rejected)
            else:
                one.describe(directory.listed(symbol), now_ns())

    async def _repeat(self, every_s: float, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await job()
            await asyncio.sleep(max(every_s * self._feed.pace, CHECK_EVERY_S))

    async def _get(self, path: str, params: dict[str, str | int]) -> tuple[bytes, int] | None:
        """A body and its time, or None; what went wrong is logged, once while it lasts."""
        try:
            reply = await self._rest.get(path, params)
        except RestError as error:
            if path not in self._unavailable:
                self._unavailable.add(path)
                _log.warning("no answer", path=path, detail=error.detail, kind=error.kind)
            return None
        self._unavailable.discard(path)
        return reply.take(), reply.recv_ns

    async def _category_news(self) -> None:
        for category in self._feed.settings.news_categories:
            latest = self._desk.latest_id(category)
            params: dict[str, str | int] = {"category": category, "minId": latest}
            self._publish_news(category, await self._get(endpoints.NEWS_PATH, params))

    async def _company_news(self) -> None:
        if not self._feed.settings.news_categories:
            return
        today = datetime.now(UTC).date()
        for one in self._connection.instruments.values():
            if one.instrument.stock:
                params: dict[str, str | int] = {
                    "symbol": one.instrument.venue_symbol,
                    "from": (today - timedelta(days=1)).isoformat(),
                    "to": today.isoformat(),
                }
                got = await self._get(endpoints.COMPANY_NEWS_PATH, params)
                self._publish_news(endpoints.COMPANY, got)

    def _publish_news(self, category: str, got: tuple[bytes, int] | None) -> None:
        if got is None:
            return
        body, recv_ns = got
        try:
            items, unreadable = parse_news(body)
        except ParseError as error:
            self._feed.counters.malformed += 1
            _log.warning("malformed news", category=category, detail=error.detail)
            return
        self._feed.counters.malformed += unreadable
        self._desk.publish(category, items, recv_ns)

    async def _quotes(self) -> None:
        for one in self._connection.instruments.values():
            params: dict[str, str | int] = {"symbol": one.instrument.venue_symbol}
            got = await self._get(endpoints.QUOTE_PATH, params)
            if got is None:
                return
            try:
                quote = parse_quote(got[0])
            except ParseError as error:
                self._feed.counters.malformed += 1
                _log.warning("malformed quote", detail=error.detail)
                continue
            one.on_rest_quote(quote, got[1])

    async def _market_status(self) -> None:
        got = await self._get(endpoints.MARKET_STATUS_PATH, {"exchange": "US"})
        if got is None:
            self._connection.market_closed(False)
            return
        try:
            status = parse_market_status(got[0])
        except ParseError as error:
            _log.warning("malformed market status", detail=error.detail)
            return
        self._connection.market_closed(not status.is_open and status.session is None)
