"""Having missing trades again from a venue that can be asked for them, one task a symbol.

What is missing is known by the ids (``trade_sequence``); how it is fetched is the venue's. Tried so
often, with growing pauses; then it is given up, and the symbol's status says so for a minute. What
the venue does not tell any more is given up at once. Nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from bus.clock import monotonic_ns
from bus.feeds.backoff import Backoff
from bus.feeds.errors import ParseError, RestError
from bus.feeds.log_limit import LogLimit
from bus.feeds.sequenced_trades import SequencedTrades
from bus.runtime.log import Logger

TRIES: Final = 5
"""Failed calls in a row after which missing trades are given up."""
PAUSE_S: Final = 0.25
"""From finding a gap to asking: what is only late comes by itself, and gaps come together."""

Fetch = Callable[[int, int], Awaitable[str]]
"""Publishes what it can get of the trades from one id to another, both included; returns why some
may be missing still. Raises RestError, ParseError, and OutOfReach."""


class OutOfReach(Exception):
    """The venue does not tell trades up to ``last_id`` any more: there is no use in asking."""

    def __init__(self, why: str, last_id: int) -> None:
        super().__init__(why)
        self.last_id = last_id


class TradeRepair:
    """Keeps the trades of one feed's symbols whole. After an outage all of them say the same at
    once: one line of log a while tells of them.
    """

    def __init__(self, log: Logger, backoff: Backoff) -> None:
        self._backoff = backoff
        self._log_missing = LogLimit(log.warning)
        self._log_failed = LogLimit(log.warning)
        self._log_lost = LogLimit(log.error)

    async def keep(self, trades: SequencedTrades, fetch: Fetch, symbol: str) -> None:
        """Fetch the missing trades of one symbol whenever there are any, until cancelled."""
        attempt = 0
        while True:
            if not trades.sequence.missing:
                attempt = 0
                trades.gap.clear()
                await trades.gap.wait()
                await asyncio.sleep(PAUSE_S)
                continue
            first_id, last_id = trades.sequence.missing[0]
            if attempt == 0:
                what = {"symbol": symbol, "first": first_id, "last": last_id}
                self._log_missing(monotonic_ns(), "", "trades missing", **what)
            is_final = False
            try:
                why = await fetch(first_id, last_id)
            except OutOfReach as error:
                why, last_id, is_final = str(error), error.last_id, True
            except (RestError, ParseError) as error:
                why = str(error)
                what = {"symbol": symbol, "detail": why, "attempt": attempt}
                self._log_failed(monotonic_ns(), "", "no trades", **what)
            if not trades.sequence.missing:
                continue
            attempt += 1
            if attempt < TRIES and not is_final:
                await asyncio.sleep(self._backoff.delay_s(attempt, random.random()))
                continue
            attempt = 0
            lost = trades.give_up(first_id, last_id, why, monotonic_ns())
            if lost:
                self._log_lost(monotonic_ns(), "", "trades lost", symbol=symbol, detail=lost)
