"""A consumer that trusts nobody: what the bus delivered, and every way it could be wrong."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

from bus.client import AsyncSubscriber, Gap, SnapshotEnd, Update
from bus.model import Depth, OrderBook, Price, Quote, Status, Tick, Trade
from bus.testing import eventually
from tests.stalls import Stalls

T = TypeVar("T")
Top = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Said:
    """One status, and when it came (monotonic seconds)."""

    at_s: float
    symbol: str
    state: str
    reason: str
    detail: str


@dataclass
class Seen:
    """Everything about one symbol; the book is rebuilt from `depth` alone, as a consumer would."""

    trades: list[Tick] = field(default_factory=list)
    prices: list[Tick] = field(default_factory=list)
    deltas: list[Tick] = field(default_factory=list)
    snapshots: list[Tick] = field(default_factory=list)
    quotes: list[tuple[int, Top]] = field(default_factory=list)
    tops: list[tuple[int, Top]] = field(default_factory=list)
    bids: dict[float, float] = field(default_factory=dict)
    asks: dict[float, float] = field(default_factory=dict)
    depth_id: int = 0
    broken: int = 0
    """Deltas that do not continue the book they follow: never allowed."""
    delta_id: int = 0
    lost: int = 0
    """Deltas that do not begin where the one before them ended: one a resync."""
    crossed: int = 0
    unlike: int = 0
    """`orderbook` ticks whose best prices are not those of the book rebuilt from `depth`."""

    @property
    def price_steps_back(self) -> int:
        """`price` ticks older, by the venue's time, than the one before."""
        times = [tick.venue_ts_ns or 0 for tick in self.prices]
        return sum(later < earlier for earlier, later in pairwise(times))

    @property
    def trade_ids(self) -> list[object]:
        return [tick.body.trade_id for tick in self.trades if isinstance(tick.body, Trade)]

    def take_depth(self, tick: Tick, body: Depth) -> None:
        if body.is_snapshot:
            self.snapshots.append(tick)
            self.bids.clear()
            self.asks.clear()
        else:
            self.broken += not body.first_venue_seq <= self.depth_id + 1 <= body.last_venue_seq
            self.lost += bool(self.deltas) and body.first_venue_seq != self.delta_id + 1
            self.delta_id = body.last_venue_seq
            self.deltas.append(tick)
        self.depth_id = body.last_venue_seq
        for side, levels in ((self.bids, body.bids), (self.asks, body.asks)):
            for price, size in levels:
                if size == 0:
                    side.pop(price, None)
                else:
                    side[price] = size
        self.crossed += bool(self.bids and self.asks) and max(self.bids) >= min(self.asks)

    def take_top(self, body: OrderBook) -> None:
        assert body.venue_seq is not None
        (bid, bid_size), (ask, ask_size) = body.bids[0], body.asks[0]
        self.crossed += bid >= ask
        self.tops.append((body.venue_seq, (bid, bid_size, ask, ask_size)))
        if body.venue_seq == self.depth_id:
            self.unlike += (bid, ask) != (max(self.bids), min(self.asks))

    def compared(self) -> tuple[int, int]:
        """Of the books comparable with the venue's own top at the same place: equal, all."""
        ids = [update_id for update_id, _ in self.quotes]
        equal = comparable = 0
        for update_id, top in self.tops:
            at = bisect_right(ids, update_id)
            if 0 < at < len(ids):  # a quote before and one after: the one before is the venue's
                comparable += 1
                equal += self.quotes[at - 1][1] == top
        return equal, comparable


class Watch:
    """What the bus delivered since it was made."""

    def __init__(self, stalls: Stalls) -> None:
        self._stalls = stalls
        self.of: dict[str, Seen] = defaultdict(Seen)
        self.said: list[Said] = []
        self.last: dict[str, Tick] = {}
        self.gaps: list[Gap] = []
        self.holes: list[str] = []
        self.updates = 0
        self.task: asyncio.Task[None] | None = None

    def take(self, event: object) -> None:
        if isinstance(event, Gap):
            self.gaps.append(event)
        elif isinstance(event, Update):
            self._update(event.tick)

    def _update(self, tick: Tick) -> None:
        topic, body = tick.topic, tick.body
        before = self.last.get(topic.name)
        if before is not None and (tick.epoch, tick.seq) != (before.epoch, before.seq + 1):
            self.holes.append(f"{topic.name} {before.seq} -> {tick.seq}")
        self.last[topic.name] = tick
        self.updates += 1
        if isinstance(body, Status):
            self.said.append(
                Said(time.monotonic(), topic.symbol, body.state, body.reason, body.detail or "")
            )
        elif isinstance(body, Trade):
            self.of[topic.symbol].trades.append(tick)
        elif isinstance(body, Price):
            self.of[topic.symbol].prices.append(tick)
        elif isinstance(body, Depth):
            self.of[topic.symbol].take_depth(tick, body)
        elif isinstance(body, OrderBook):
            self.of[topic.symbol].take_top(body)
        elif isinstance(body, Quote) and body.venue_seq is not None:
            assert body.bid_price is not None
            assert body.bid_size is not None
            assert body.ask_price is not None
            assert body.ask_size is not None
            self.of[topic.symbol].quotes.append(
                (body.venue_seq, (body.bid_price, body.bid_size, body.ask_price, body.ask_size))
            )

    # what tests ask

    def state(self, symbol: str = "") -> str:
        """The last state said of a symbol; of the whole feed without one."""
        return next((said.state for said in reversed(self.said) if said.symbol == symbol), "")

    def after(self, moment_s: float, symbol: str = "") -> list[Said]:
        """What was said of a symbol since then."""
        return [said for said in self.said if said.symbol == symbol and said.at_s >= moment_s]

    async def until(
        self, predicate: Callable[[], T], timeout_s: float, what: str | None = None
    ) -> T:
        """As ``eventually``; fails at once, and with the reason, if the consumer has died."""

        def asked() -> T:
            if self.task is not None and self.task.done():
                self.task.result()
            return predicate()

        found: T = await eventually(asked, timeout_s, what)
        return found

    async def hears(
        self,
        state: str,
        *,
        symbol: str = "",
        since_s: float,
        within_s: float = 1.0,
        reason: str = "",
        detail: str = "",
    ) -> Said:
        """The first such status after ``since_s``; fails unless it came within ``within_s``.

        To which is added what the machine kept ready threads waiting meanwhile.

        ``state`` and ``reason``: one, or several with a bar between them.
        """

        def found() -> Said | None:
            for said in self.after(since_s, symbol):
                fits = said.state in state.split("|") and said.reason in (
                    reason or said.reason
                ).split("|")
                if fits and detail in said.detail:
                    return said
            return None

        what = f"{symbol or 'the feed'} {state} {reason} {detail}"
        try:
            said = await self.until(found, within_s + 15, what)
            assert said is not None
        except AssertionError:
            raise AssertionError(f"never said: {what}; but {self.after(since_s, symbol)}") from None
        late_s = said.at_s - since_s
        allowed_s = within_s + self._stalls.allowance_s(since_s, said.at_s)
        assert late_s <= allowed_s, f"{what} was said after {late_s:.2f} s, not {allowed_s:.2f}"
        return said

    async def live(self, symbols: Iterable[str], timeout_s: float = 15.0) -> None:
        """Until every symbol, and the feed, is live."""
        names = list(symbols)
        await self.until(
            lambda: all(self.state(name) == "live" for name in names) and self.state() == "live",
            timeout_s,
            f"{names} live",
        )

    async def right(self, symbol: str, count: int = 5) -> None:
        """From here on ``count`` books are comparable with the venue's own top, and equal it."""
        seen = self.of[symbol]
        seen.quotes.clear()
        seen.tops.clear()
        await self.until(
            lambda: seen.compared()[1] >= count, 15, f"{count} comparable books of {symbol}"
        )
        equal, comparable = seen.compared()
        assert equal == comparable, f"{symbol}: {equal} of {comparable} books equal the venue's"

    def sound(self) -> None:
        """No book was ever crossed, broken or at odds with itself; the bus lost nothing."""
        assert self.gaps == []
        assert self.holes == []
        for symbol, seen in self.of.items():
            assert seen.crossed == 0, f"{symbol} crossed"
            assert seen.broken == 0, f"{symbol}: a delta does not continue its book"
            assert seen.unlike == 0, f"{symbol}: orderbook and depth tell different books"

    async def ticks_go_on(self, symbols: Iterable[str], count: int = 3) -> None:
        """Until so many further book changes, and a further quote, of each symbol have come."""
        for symbol in symbols:
            seen = self.of[symbol]
            target, quotes = len(seen.deltas) + count, len(seen.quotes)
            await self.until(
                lambda seen=seen, target=target, quotes=quotes: (
                    len(seen.deltas) >= target  # type: ignore[misc]
                    and len(seen.quotes) > quotes
                ),
                10,
                f"{symbol} goes on",
            )

    async def untouched(self, symbols: Iterable[str]) -> None:
        """These went on as if nothing had happened: always live, no trade or change missing."""
        for symbol in symbols:
            await self.until(lambda symbol=symbol: self.of[symbol].trades, 15, f"{symbol} trades")  # type: ignore[misc]
            seen = self.of[symbol]
            assert seen.lost == 0, f"{symbol}: book changes are missing in {seen.lost} places"
            assert unbroken(seen.trade_ids), f"{symbol}: {seen.trade_ids}"
            states = [said.state for said in self.said if said.symbol == symbol]
            assert states[states.index("live") :] == ["live"], f"{symbol}: {states}"


def unbroken(ids: list[object]) -> bool:
    """Whether the ids go up by one: none lost, none repeated, none out of order."""
    numbers = [number for number in ids if isinstance(number, int)]
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(ids)))


@asynccontextmanager
async def watching(endpoint: str) -> AsyncIterator[Watch]:
    """A consumer of everything live on the bus, running beside the test."""
    with Stalls() as stalls:
        watch = Watch(stalls)
        async with AsyncSubscriber(endpoint) as subscriber:
            ends = 0
            for prefix in ("md/", "sys/status/"):
                subscriber.subscribe(prefix)
            while ends < 2:  # only then is the consumer certain to miss nothing
                event = await subscriber.recv(10)
                assert event is not None, "the broker does not answer"
                ends += isinstance(event, SnapshotEnd)

            async def consume() -> None:
                async for event in subscriber:
                    watch.take(event)

            task = watch.task = asyncio.ensure_future(consume())
            try:
                yield watch
                assert not task.done(), task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
