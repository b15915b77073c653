"""The Kraken feed: which pairs on which connections, and the clock.

Wiring only; frames are handled in ``connection``, pairs in ``instrument_feed``. There is nothing
to ask over REST: the pairs come on a channel, and so does every book.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bus.clock import monotonic_ns, now_ns
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.kraken import endpoints
from bus.feeds.kraken.connection import Connection
from bus.feeds.rotation import rotate_all
from bus.feeds.session import Session
from bus.feeds.status import judge_feed
from bus.runtime import get_logger

_log = get_logger("feeds.kraken")

CHECK_EVERY_S: Final = 0.25
"""Silence and states are looked at this often: a change shows well within a second."""


def create(feed: Feed) -> VenueFeed:
    """The feed of this venue, not yet running; it takes commands from then on."""
    made = KrakenFeed(feed)
    feed.commands.update({"rotate": made.rotate, "list_symbols": made.list_symbols})
    return made


class KrakenFeed:
    """All connections of one feed process; see :class:`~bus.feeds.feed.VenueFeed`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._served: list[tuple[Session, Connection]] = []
        url = (feed.ws_base or endpoints.WS_BASE).rstrip("/") + endpoints.PATH
        a_connection = max(1, feed.settings.streams_per_connection // len(endpoints.CHANNELS))
        wanted = list(dict.fromkeys(feed.settings.symbols))
        for start in range(0, len(wanted), a_connection):
            connection = Connection(feed, wanted[start : start + a_connection])
            settings = feed.session_settings(f"{feed.name}.{len(self._served) + 1}")
            session = Session(lambda: url, url, connection, settings, attempts=feed.attempts)
            self._served.append((session, connection))

    async def run(self) -> None:
        """Serve until ``feed.stopping``."""
        feed = self._feed
        self._judge_feed()
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(self._clock())
            for session, _ in self._served:
                tasks.create_task(session.run())
            feed.started()
            await feed.stopping.wait()
            for session, _ in self._served:
                session.stop()
            clock.cancel()

    def report(self) -> dict[str, int | float | str]:
        """Counters of sessions, books and trades, summed over all pairs."""
        sessions = [session for session, _ in self._served]
        instruments = [
            one for _, connection in self._served for one in connection.instruments.values()
        ]
        books = [one.book.stats() for one in instruments]
        trades = [one.trades.losses() for one in instruments]
        return {
            "connections": sum(session.connected for session in sessions),
            "reconnects": sum(session.reconnects for session in sessions),
            "book_syncs": sum(book.syncs for book in books),
            "resyncs": sum(max(0, book.syncs - 1) for book in books),
            "book_crossed": sum(book.crossed for book in books),
            "checksum_failed": sum(book.checksum_failed for book in books),
            "trade_gaps": sum(losses.gaps for losses in trades),
            "trades_lost": sum(losses.lost for losses in trades),
        }

    async def rotate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Replace every connection by a new one, opened before the old one is closed."""
        return await rotate_all([session for session, _ in self._served], self._feed.counters)

    async def list_symbols(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What is served, each with its state, and what the venue does not list."""
        states, refused = {}, {}
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

    async def _clock(self) -> None:
        while True:
            for session, connection in self._served:
                connection.check(session)
            self._judge_feed()
            await asyncio.sleep(CHECK_EVERY_S)

    def _judge_feed(self) -> None:
        verdict = judge_feed(
            [connection.facts for _, connection in self._served],
            [
                connection.verdict(symbol)
                for _, connection in self._served
                for symbol in connection.instruments
            ],
        )
        if self._feed.board.say("", verdict, now_ns()):
            _log.info(
                "feed", state=verdict.state, reason=verdict.reason, detail=verdict.detail or "-"
            )
