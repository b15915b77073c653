"""A seeded market in one symbol: order flow, trades and their consequences for the book.

Pure: time is given, randomness comes from the seed, so the same seed and the same step times give
the same market to the last digit.

A hidden fair price jumps with every aggressive order, is drawn back slowly towards its start, and
now and then gets busy (bursts). Aggressive orders hit the side the fair price has run past, at the
best price first and deeper while it pays; makers pull quotes the fair price has overtaken, refill
around it, and keep the number of levels about constant. So the book is never crossed, trades
happen at resting prices only, and every number a venue would publish follows from these events.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import pairwise
from random import Random

from bus.simulator.events import AggregateTrade as AggregateTrade
from bus.simulator.events import MarketEvent as MarketEvent
from bus.simulator.events import Quote as Quote
from bus.simulator.events import Trade as Trade
from bus.simulator.instruments import E8, CryptoInstrument
from bus.simulator.ladder import Diff, Ladder, Level
from bus.simulator.stats import MINUTE_NS, WINDOW_MINUTES, Bucket, RollingStats, Window

SECOND_NS = 1_000_000_000
DAY_S = 86_400
MAX_CATCH_UP_NS = SECOND_NS
"""After a pause longer than this the market resumes where it stood instead of bursting."""

HEAT_DECAY_S = 2.0

FOLLOWER_PULL = 0.2
"""Part of the way to the leader's fair price that each aggressive order goes."""
FOLLOWER_JUMP = 0.3
"""A follower's own jumps, as a part of what they would be if it led."""

FAST_DIFF = 0
SLOW_DIFF = 1
RECENT_TRADES = 1_000
WATCHED_LEVELS = 40
"""Depth to which makers keep a side without holes."""


class SymbolMarket:
    """The market in one symbol. Call :meth:`step` with growing times, then read what it holds.

    With a ``leader`` (the same asset on another venue, stepped before this one) the fair price
    follows the leader's, as arbitrage makes it do; book, trades and ids are this market's own.
    """

    def __init__(
        self,
        instrument: CryptoInstrument,
        seed: int,
        now_ns: int,
        *,
        levels: int = 500,
        activity: float = 1.0,
        leader: SymbolMarket | None = None,
        diff_streams: int = 2,
    ) -> None:
        self.instrument = instrument
        self._leader = leader
        self._random = Random(f"{seed}:{instrument.symbol}")
        self._levels = levels
        self._orders_per_ns = instrument.orders_per_s * activity / SECOND_NS
        self._takers_per_ns = instrument.takers_per_s * activity / SECOND_NS
        # The same volatility in a day whatever the activity: each jump is smaller when they are
        # more frequent.
        self._jump = instrument.daily_volatility / math.sqrt(
            DAY_S * instrument.takers_per_s * activity
        )
        if leader is not None:
            self._jump *= FOLLOWER_JUMP
        # Each order makes a tenth of another one likely; a burst comes every minute or so.
        self._excitation = 0.1 / (HEAT_DECAY_S * instrument.takers_per_s * activity)
        self._burst_chance = min(0.1, 1 / (60 * instrument.takers_per_s * activity))
        self._start = instrument.start_e8 / instrument.tick_e8
        self._fair = self._start * math.exp(self._random.gauss(0, 0.004))
        if leader is not None:
            self._fair = leader.fair_e8 / instrument.tick_e8
        self._heat = 1.0
        self._heat_ns = now_ns
        self.now_ns = now_ns
        self.ladder = Ladder(self._random.randrange(10**9, 10**10), diff_streams)
        self._events: list[MarketEvent] = []
        self.recent_trades: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self._next_trade_id = self._random.randrange(10**8, 10**9)
        self._next_aggregate_id = self._random.randrange(10**7, 10**8)
        self._fill_book()
        self._quote = self.ladder.best()
        self.stats = self._invent_past(now_ns)
        self._next_order_ns = now_ns + self._wait(self._orders_per_ns)
        self._next_taker_ns = now_ns + self._wait(self._takers_per_ns)

    # What a server asks

    @property
    def fair_e8(self) -> float:
        """The hidden fair price."""
        return self._fair * self.instrument.tick_e8

    def step(self, now_ns: int) -> list[MarketEvent]:
        """Let the market run until ``now_ns``; what happened since the step before, in order.

        A quote follows the trades that caused it. Times of trades lie within the step. Asked
        again for the same moment, it gives the same events: several may look on.
        """
        if now_ns == self.now_ns:
            return self._events
        if not 0 <= now_ns - self.now_ns <= MAX_CATCH_UP_NS:  # also when the clock was set back
            pause_ns = now_ns - self.now_ns
            self._next_order_ns += pause_ns
            self._next_taker_ns += pause_ns
            self._heat_ns += pause_ns
        events: list[MarketEvent] = []
        while True:
            time_ns = min(self._next_order_ns, self._next_taker_ns)
            if time_ns > now_ns:
                break
            if time_ns == self._next_taker_ns:
                self._take(time_ns, events)
                rate = self._takers_per_ns * self._heat_at(time_ns)
                self._next_taker_ns = time_ns + self._wait(rate)
            else:
                self._order()
                rate = self._orders_per_ns * math.sqrt(self._heat_at(time_ns))
                self._next_order_ns = time_ns + self._wait(rate)
            best = self.ladder.best()
            if best != self._quote:
                self._quote = best
                events.append(Quote(self.ladder.update_id, *best))
        self.now_ns = now_ns
        self._events = events
        return events

    def quote(self) -> Quote:
        """The best bid and ask now."""
        return Quote(self.ladder.update_id, *self.ladder.best())

    def take_diff(self, stream: int) -> Diff | None:
        """The diff since the last call for this stream (:data:`FAST_DIFF`, :data:`SLOW_DIFF`)."""
        return self.ladder.take_diff(stream)

    def snapshot(self, limit: int) -> tuple[int, list[Level], list[Level]]:
        """The true book: last update id, then at most ``limit`` bids and asks, best first."""
        return (self.ladder.update_id, *self.ladder.top(limit))

    def window(self, now_ns: int) -> Window:
        """24-hour statistics as of ``now_ns``."""
        return self.stats.window(now_ns)

    # How it moves

    def _wait(self, rate_per_ns: float) -> int:
        return 1 + int(self._random.expovariate(rate_per_ns))

    def _heat_at(self, time_ns: int) -> float:
        """How busy it is, 1 = usual; decays within :data:`HEAT_DECAY_S`."""
        return 1.0 + (self._heat - 1.0) * math.exp(
            (self._heat_ns - time_ns) / (HEAT_DECAY_S * SECOND_NS)
        )

    def _size(self, usual_quote: float, spread: float) -> int:
        """A random size worth about ``usual_quote``, at least one lot, ``_e8``."""
        lot_e8 = self.instrument.lot_e8
        worth = usual_quote * self._random.lognormvariate(0, spread)
        price = self._fair * self.instrument.tick_e8 / E8
        return max(1, int(worth / price * E8 / lot_e8)) * lot_e8

    def _usual_gap(self, depth: int) -> float:
        """Mean ticks between the ``depth``-th level and the next; sparser further out."""
        return max(0.2, self._start * (3e-6 if depth < 8 else 8e-6 * max(1.0, depth / 60)))

    def _gap(self, depth: int) -> int:
        """Random ticks from the ``depth``-th level to the next one."""
        return 1 + int(self._random.expovariate(1.0) * self._usual_gap(depth))

    def _is_hole(self, near_e8: int, far_e8: int, depth: int) -> bool:
        """Whether two neighbours at this depth are further apart than makers leave them."""
        return abs(far_e8 - near_e8) > self.instrument.tick_e8 * (4 + 6 * self._usual_gap(depth))

    def _fill_book(self) -> None:
        tick_e8 = self.instrument.tick_e8
        for is_bid in (True, False):
            price = math.floor(self._fair) if is_bid else math.floor(self._fair) + 1
            for depth in range(self._levels):
                size_e8 = self._size(self.instrument.level_quote, 1.2)
                self.ladder.set(is_bid, price * tick_e8, size_e8)
                price += -self._gap(depth) if is_bid else self._gap(depth)
                if price <= 0:
                    break

    def _invent_past(self, now_ns: int) -> RollingStats:
        """A day of minute bars that ends at the present price, walked backwards from it."""
        random, tick_e8 = self._random, self.instrument.tick_e8
        bid_e8, _, ask_e8, _ = self.ladder.best()
        close = (bid_e8 + ask_e8) / 2
        spread = self.instrument.daily_volatility / math.sqrt(WINDOW_MINUTES)
        bars: list[tuple[int, int, int, int]] = []
        for _ in range(WINDOW_MINUTES):
            open_ = close * math.exp(random.gauss(0, spread))
            high = max(open_, close) * (1 + abs(random.gauss(0, spread / 2)))
            low = min(open_, close) * (1 - abs(random.gauss(0, spread / 2)))
            bars.append(
                tuple(int(value) // tick_e8 * tick_e8 for value in (open_, high, low, close))  # type: ignore[arg-type]
            )
            close = open_
        stats = RollingStats(bars[-1][0])
        minute = now_ns // MINUTE_NS - WINDOW_MINUTES
        usual_count = self._takers_per_ns * 60 * SECOND_NS * 1.5
        for open_e8, high_e8, low_e8, close_e8 in reversed(bars):
            count = max(1, int(usual_count * random.lognormvariate(0, 0.5)))
            volume_e8 = count * self._size(self.instrument.taker_quote, 0.3)
            first_id = self._next_trade_id
            self._next_trade_id += count
            value_e8 = volume_e8 * ((high_e8 + low_e8) // 2) // E8
            stats.add_bucket(
                Bucket(minute, open_e8, high_e8, low_e8, close_e8, volume_e8, value_e8, count,
                       first_id, self._next_trade_id - 1)
            )  # fmt: skip
            minute += 1
        return stats

    def _take(self, time_ns: int, events: list[MarketEvent]) -> None:
        """One aggressive order: the fair price jumps, the order eats what it has run past."""
        random, tick_e8 = self._random, self.instrument.tick_e8
        heat = self._heat_at(time_ns)
        if random.random() < self._burst_chance:
            heat += random.uniform(3.0, 6.0)
        self._heat, self._heat_ns = min(8.0, heat + self._excitation), time_ns
        if self._leader is None:
            pull = math.log(self._start / self._fair) * 2e-5
        else:
            pull = math.log(self._leader.fair_e8 / (self._fair * tick_e8)) * FOLLOWER_PULL
        self._fair *= math.exp(random.gauss(pull, self._jump * math.sqrt(heat)))
        bid_e8, bid_size_e8, ask_e8, ask_size_e8 = self.ladder.best()
        fair_e8 = self._fair * tick_e8
        if fair_e8 > ask_e8:
            is_buy, runs = True, True
        elif fair_e8 < bid_e8:
            is_buy, runs = False, True
        else:
            is_buy = random.random() * (ask_e8 - bid_e8) < fair_e8 - bid_e8
            runs = False
        size_e8 = self._size(self.instrument.taker_quote, 1.4)
        if runs:
            size_e8 = max(size_e8, ask_size_e8 if is_buy else bid_size_e8)
            size_e8 += self._size(self.instrument.level_quote, 1.0)
        self._execute(is_buy, size_e8, fair_e8 if runs else None, time_ns, events)

    def _execute(
        self,
        is_buy: bool,
        size_e8: int,
        limit_e8: float | None,
        time_ns: int,
        events: list[MarketEvent],
    ) -> None:
        """Fill against the book: the best price, then on up to ``limit_e8`` while it is given."""
        ladder, random, lot_e8 = self.ladder, self._random, self.instrument.lot_e8
        prices = ladder.ask_prices if is_buy else ladder.bid_prices
        for _ in range(6):
            price_e8 = prices[0] if is_buy else prices[-1]
            if limit_e8 is not None and (price_e8 > limit_e8 if is_buy else price_e8 < limit_e8):
                break
            resting_e8 = ladder.size(not is_buy, price_e8)
            # The last level of a side stays, whatever the order wants.
            wanted_e8 = min(size_e8, resting_e8 if len(prices) > 1 else resting_e8 - lot_e8)
            if wanted_e8 <= 0:
                break
            first_id = self._next_trade_id
            for fill_e8 in self._split(wanted_e8):
                resting_e8 -= fill_e8
                ladder.set(not is_buy, price_e8, resting_e8)
                trade = Trade(self._next_trade_id, price_e8, fill_e8, time_ns, not is_buy)
                self._next_trade_id += 1
                self.stats.add(time_ns, trade.trade_id, price_e8, fill_e8)
                self.recent_trades.append(trade)
                events.append(trade)
            events.append(
                AggregateTrade(self._next_aggregate_id, price_e8, wanted_e8, first_id,
                               self._next_trade_id - 1, time_ns, not is_buy)
            )  # fmt: skip
            self._next_aggregate_id += 1
            size_e8 -= wanted_e8
            if size_e8 <= 0 or limit_e8 is None or random.random() < 0.1:
                break

    def _split(self, size_e8: int) -> list[int]:
        """The resting orders that one level's fill consists of: one to four."""
        lot_e8, random = self.instrument.lot_e8, self._random
        parts: list[int] = []
        while len(parts) < 3 and size_e8 > lot_e8 and random.random() < 0.35:
            part_e8 = random.randrange(lot_e8, size_e8, lot_e8)
            parts.append(part_e8)
            size_e8 -= part_e8
        parts.append(size_e8)
        return parts

    def _order(self) -> None:
        """One change by a maker: pull, refill, add, resize or cancel."""
        random, ladder, tick_e8 = self._random, self.ladder, self.instrument.tick_e8
        is_bid = random.random() < 0.5
        prices = ladder.bid_prices if is_bid else ladder.ask_prices
        fair_e8 = self._fair * tick_e8
        best_e8 = prices[-1] if is_bid else prices[0]
        if len(prices) > 2 and (best_e8 > fair_e8 if is_bid else best_e8 < fair_e8):
            ladder.set(is_bid, best_e8, 0)
            return
        draw = random.random()
        missing = self._levels - len(prices)
        if missing > 0 and draw < 0.05 + 0.002 * missing:
            self._extend(is_bid, prices)
        elif missing < 0 and draw < 0.25:
            ladder.set(is_bid, prices[0] if is_bid else prices[-1], 0)
        elif draw < 0.62:
            self._place(is_bid)
        else:
            index = max(0, min(len(prices) - 2, int(random.expovariate(1 / 25))))
            if len(prices) < 10 or draw < 0.80 or not self._may_cancel(is_bid, prices, index):
                price_e8 = prices[-1 - index] if is_bid else prices[index]
                size_e8 = self._size(self.instrument.level_quote, 1.2)
                if size_e8 != ladder.size(is_bid, price_e8):
                    ladder.set(is_bid, price_e8, size_e8)
            else:
                ladder.set(is_bid, prices[-1 - index] if is_bid else prices[index], 0)

    def _may_cancel(self, is_bid: bool, prices: list[int], depth: int) -> bool:
        """Whether the level can go without leaving a hole between its neighbours."""
        if depth == 0:
            return True
        if is_bid:
            return not self._is_hole(prices[-depth], prices[-depth - 2], depth)
        return not self._is_hole(prices[depth - 1], prices[depth + 1], depth)

    def _place(self, is_bid: bool) -> None:
        """A new quote: at the fair price now and then, mostly somewhere behind the best one."""
        random, tick_e8, ladder = self._random, self.instrument.tick_e8, self.ladder
        bid_e8, _, ask_e8, _ = ladder.best()
        if random.random() < (0.05 if ask_e8 - bid_e8 <= 2 * tick_e8 else 0.5):
            if is_bid:
                price_e8 = min(math.floor(self._fair) * tick_e8, ask_e8 - tick_e8)
            else:
                price_e8 = max(math.floor(self._fair + 1) * tick_e8, bid_e8 + tick_e8)
        else:
            # A usual step behind some level; holes near the best price are filled first.
            prices = ladder.bid_prices if is_bid else ladder.ask_prices
            index = self._first_hole(is_bid, prices)
            if index is None:
                index = min(len(prices) - 1, int(random.expovariate(1 / 30)))
            step_e8 = self._gap(index) * tick_e8
            price_e8 = prices[-1 - index] - step_e8 if is_bid else prices[index] + step_e8
        if price_e8 <= 0:
            return
        size_e8 = self._size(self.instrument.level_quote, 1.2)
        if size_e8 != ladder.size(is_bid, price_e8):
            ladder.set(is_bid, price_e8, size_e8)

    def _first_hole(self, is_bid: bool, prices: list[int]) -> int | None:
        """Depth of the level behind which a hole begins, among the best ones."""
        near = prices[: -WATCHED_LEVELS - 1 : -1] if is_bid else prices[:WATCHED_LEVELS]
        for depth, (near_e8, far_e8) in enumerate(pairwise(near)):
            if self._is_hole(near_e8, far_e8, depth):
                return depth
        return None

    def _extend(self, is_bid: bool, prices: list[int]) -> None:
        """A new level behind the last one."""
        step_e8 = self._gap(self._levels) * self.instrument.tick_e8
        price_e8 = prices[0] - step_e8 if is_bid else prices[-1] + step_e8
        if price_e8 > 0:
            self.ladder.set(is_bid, price_e8, self._size(self.instrument.level_quote, 1.4))
