"""The Finnhub feed: one connection, news and day figures over REST, the clock.

Wiring only; frames are handled in ``connection``, news in ``news``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bus.clock import now_ns
from bus.errors import ConfigError
from bus.feeds.errors import ParseError, RestError
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.finnhub import endpoints
from bus.feeds.finnhub.connection import Connection
from bus.feeds.finnhub.news import NewsDesk
from bus.feeds.finnhub.parser import parse_market_status, parse_news, parse_quote
from bus.feeds.finnhub.symbols import choose
from bus.feeds.rest import RestClient
from bus.feeds.session import Session
from bus.feeds.status import Verdict, judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.finnhub")

KEY_VARIABLE: Final = "FINNHUB_API_KEY"
CHECK_EVERY_S: Final = 0.25
MARKET_EVERY_S: Final = 60.0
QUOTE_EVERY_S: Final = 900.0
"""The venue asks not to be polled for quotes; trades carry the price in between."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running. Raises ConfigError when there is no API key."""
    return FinnhubFeed(feed, api_key(feed))


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
        choice = choose(feed.settings.symbols, feed.venue_label)
        self._rejected = choice.rejected
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
            or endpoints.CALLS_PER_MINUTE // 2,
            timeout_s=feed.settings.rest_timeout_s,
            headers={endpoints.KEY_HEADER: key},
            capture=feed.capture,
        )
        self._unavailable: set[str] = set()

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        for symbol, why in self._rejected.items():
            _log.error("symbol refused", symbol=symbol, reason=why)
        settings = feed.settings
        async with self._rest, asyncio.TaskGroup() as tasks:
            jobs: list[tuple[float, Callable[[], Awaitable[None]]]] = [
                (MARKET_EVERY_S, self._market_status),
                (QUOTE_EVERY_S, self._quotes),
                (settings.news_poll_s, self._category_news),
                (settings.news_poll_s * 5, self._company_news),
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
        }
        return report

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

    # REST

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
        return reply.body, reply.recv_ns

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
