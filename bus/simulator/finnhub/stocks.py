"""A seeded market in stocks, as Finnhub shows it: prints, day figures, no book.

Pure: time is given, randomness comes from the seed. The session never ends: a demo at night
should still show prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from bus.simulator.instruments import StockInstrument

SECOND_NS = 1_000_000_000
NS_PER_MS = 1_000_000
SESSION_S = 6.5 * 3600
MAX_CATCH_UP_NS = SECOND_NS

_CONDITIONS = (("1",), ("1", "12"), ("1", "8"), ("1", "24", "12"), ("1", "8", "24", "12"), ())
_CONDITION_WEIGHTS = (30, 40, 8, 12, 4, 6)


@dataclass(frozen=True, slots=True)
class Print:
    """One row of a Finnhub trade frame. ``size`` 0: a price update that is not a trade.

    ``conditions`` is ``None`` where the venue sends no ``c`` field.
    """

    symbol: str
    price: float
    size: float
    time_ms: int
    conditions: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class DayQuote:
    """What ``/quote`` says. ``time_s`` is the last print's time."""

    current: float
    high: float
    low: float
    open: float
    previous_close: float
    time_s: int

    @property
    def change(self) -> float:
        """Against the previous close."""
        return round(self.current - self.previous_close, 2)

    @property
    def change_percent(self) -> float:
        """Against the previous close."""
        return round(100 * (self.current / self.previous_close - 1), 4)


class StockMarket:
    """One stock. Call :meth:`step` with growing times."""

    def __init__(
        self, instrument: StockInstrument, seed: int, now_ns: int, *, activity: float = 1.0
    ) -> None:
        self.instrument = instrument
        self._random = random = Random(f"{seed}:{instrument.symbol}")
        self._rate_per_ns = instrument.trades_per_s * activity / SECOND_NS
        self._jump = instrument.daily_volatility / math.sqrt(
            SESSION_S * instrument.trades_per_s * activity
        )
        self._price = instrument.start
        gap = instrument.daily_volatility / 3
        self.previous_close = round(instrument.start * math.exp(random.gauss(0, gap)), 2)
        self.day_open = round(instrument.start * math.exp(random.gauss(0, gap / 2)), 2)
        self.last = round(instrument.start, 2)
        self.high = round(max(self.last, self.day_open) * (1 + random.random() * gap), 2)
        self.low = round(min(self.last, self.day_open) * (1 - random.random() * gap), 2)
        self._now_ns = now_ns
        self._last_ns = now_ns
        self._next_ns = now_ns + self._wait()

    def step(self, now_ns: int) -> list[Print]:
        """Prints since the last step, in order."""
        if not 0 <= now_ns - self._now_ns <= MAX_CATCH_UP_NS:  # also when the clock was set back
            self._next_ns += now_ns - self._now_ns
        prints = []
        while self._next_ns <= now_ns:
            prints.append(self._print(self._next_ns))
            self._next_ns += self._wait()
        self._now_ns = now_ns
        return prints

    def quote(self) -> DayQuote:
        """The day so far."""
        return DayQuote(
            self.last,
            self.high,
            self.low,
            self.day_open,
            self.previous_close,
            self._last_ns // SECOND_NS,
        )

    def _wait(self) -> int:
        return 1 + int(self._random.expovariate(self._rate_per_ns))

    def _print(self, time_ns: int) -> Print:
        random = self._random
        pull = math.log(self.instrument.start / self._price) * 5e-5
        self._price *= math.exp(random.gauss(pull, self._jump))
        price = round(self._price + random.choice((-0.01, 0.0, 0.0, 0.01)), 2)
        size = 0 if random.random() < 0.01 else self._size()
        self.last = price
        self.high = max(self.high, price)
        self.low = min(self.low, price)
        self._last_ns = time_ns
        conditions = random.choices(_CONDITIONS, _CONDITION_WEIGHTS)[0]
        return Print(self.instrument.symbol, price, size, time_ns // NS_PER_MS, conditions)

    def _size(self) -> int:
        if self._random.random() < 0.45:
            return self._random.randint(1, 99)
        return 100 * max(1, round(self._random.lognormvariate(0.3, 0.8)))
