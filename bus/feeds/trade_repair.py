"""Having missing trades again from a venue that can be asked for them, one task a symbol.

What is missing is known by the ids (``trade_sequence``); how it is fetched is the venue's. Tried so
often, with growing pauses; then it is given up, and the symbol's status says so for a minute.
Nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from bus.clock import monotonic_ns
from bus.feeds.backoff import Backoff
from bus.feeds.errors import ParseError, RestError
from bus.feeds.sequenced_trades import SequencedTrades
from bus.runtime.log import Logger

TRIES: Final = 5
"""Failed calls in a row after which missing trades are given up."""
LOOK_EVERY_S: Final = 0.25

Fetch = Callable[[int, int], Awaitable[str]]
"""Publishes what it can get of the trades from one id to another, both included; returns why some
may be missing still. Raises RestError, ParseError."""


async def keep_repaired(
    trades: SequencedTrades, fetch: Fetch, backoff: Backoff, log: Logger, symbol: str
) -> None:
    """Fetch the missing trades of one symbol whenever there are any, until cancelled."""
    attempt = 0
    while True:
        if not trades.sequence.missing:
            attempt = 0
            await asyncio.sleep(LOOK_EVERY_S)
            continue
        first_id, last_id = trades.sequence.missing[0]
        log.warning("trades missing", symbol=symbol, first=first_id, last=last_id)
        try:
            why = await fetch(first_id, last_id)
        except (RestError, ParseError) as error:
            why = str(error)
            log.warning("no trades", symbol=symbol, detail=why, attempt=attempt)
        if not trades.sequence.missing:
            continue
        attempt += 1
        if attempt < TRIES:
            await asyncio.sleep(backoff.delay_s(attempt, random.random()))
            continue
        attempt = 0
        lost = trades.give_up(first_id, last_id, why, monotonic_ns())
        if lost:
            log.error("trades lost", symbol=symbol, detail=lost)
