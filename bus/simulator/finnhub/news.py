"""News that nobody wrote: plausible headlines by category and by company, with growing ids.

Pure: time is given, randomness comes from the seed. What is kept is bounded: the last
:data:`KEPT` items of each category and of each company.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

SECOND_NS = 1_000_000_000
KEPT = 100
CATEGORIES = ("general", "forex", "crypto", "merger")
_ID_EPOCH_S = 1_700_000_000

_SHOWN_AS = {
    "general": ("business", "top news", "technology"),
    "forex": ("forex",),
    "crypto": ("crypto",),
    "merger": ("merger",),
}
_SOURCES = ("Simulated Wire", "Example Business", "Loopback Street", "Seeded Press")
_HEADLINES = {
    "general": (
        "Stocks {move} as traders weigh {topic}",
        "{topic} in focus ahead of the {day} session",
        "Investors shift to {asset} on {topic}",
        "Economists see {topic} lasting into {season}",
    ),
    "forex": (
        "{pair} {move} after {topic} surprise",
        "Dollar {move} against peers as {topic} looms",
        "{pair} holds range; desks watch {topic}",
    ),
    "crypto": (
        "{coin} {move} as liquidity thins out",
        "{coin} open interest climbs on {topic}",
        "Exchange inflows of {coin} {move}, data show",
    ),
    "merger": (
        "{company} &amp; {company2} said to explore a combination",
        "{company} agrees to buy unit of {company2} for ${amount} billion",
        "Regulators clear {company}'s ${amount} billion deal",
    ),
    "company": (
        "{company} shares {move} after guidance update",
        "{company} opens {season} product line to partners",
        "Analyst lifts {company} target, cites {topic}",
        "{company} names new finance chief",
    ),
}
_WORDS: dict[str, Sequence[str]] = {
    "move": ("edge higher", "slip", "rally", "pare losses", "drift", "jump"),
    "topic": ("rate path", "jobs data", "inflation print", "shipping costs", "earnings season"),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday"),
    "asset": ("short-dated bonds", "gold", "small caps", "cash"),
    "season": ("spring", "summer", "autumn", "winter"),
    "pair": ("EUR/USD", "USD/JPY", "GBP/USD", "AUD/USD"),
    "coin": ("Bitcoin", "Ether", "Solana", "Stablecoin"),
    "company2": ("Northwind Freight", "Contoso Foods", "Initech", "Umbra Power"),
}
_FIRMS = ("Globex", "Acme Tools", "Hooli Labs", "Vandelay Imports", "Stark Foundry")
"""Made-up names for invented deals: no real company is said to merge."""


@dataclass(frozen=True, slots=True)
class NewsItem:
    """One item in the venue's field order. ``datetime`` is UNIX seconds, ``related`` a symbol
    or empty; ``category`` is what the item shows, not the feed it was asked from."""

    category: str
    datetime: int
    headline: str
    id: int
    image: str
    related: str
    source: str
    summary: str
    url: str


class NewsDesk:
    """Writes the news. ``companies`` are (symbol, name); ``interval_s`` the mean time between two
    general items, and between two company items.

    Ids start from the clock, so they keep growing over a restart of the simulator.
    """

    def __init__(
        self, companies: Iterable[tuple[str, str]], seed: int, now_ns: int, interval_s: float
    ) -> None:
        self._companies = list(companies)
        self._random = Random(f"{seed}:news")
        self._interval_ns = interval_s * SECOND_NS
        self._next_id = max(1, now_ns // SECOND_NS - _ID_EPOCH_S) * 10
        self._general: dict[str, deque[NewsItem]] = {
            category: deque(maxlen=KEPT) for category in CATEGORIES
        }
        self._company: dict[str, deque[NewsItem]] = {
            symbol: deque(maxlen=KEPT) for symbol, _ in self._companies
        }
        for age in range(40, 0, -1):
            at_ns = now_ns - int(age * self._interval_ns)
            self._write_general(CATEGORIES[age % len(CATEGORIES)], at_ns)
            if self._companies:
                self._write_company(self._companies[age % len(self._companies)], at_ns)
        self._now_ns = now_ns
        self._next_ns = now_ns + self._wait()
        self._next_company_ns = now_ns + self._wait()

    def step(self, now_ns: int) -> list[NewsItem]:
        """Company items written since the last step (for streaming), oldest first."""
        if now_ns - self._next_ns > 10 * self._interval_ns:
            self._next_ns = self._next_company_ns = now_ns  # after a pause: no flood of old news
        elif now_ns < self._now_ns:  # the clock was set back: no silence until it is where it was
            self._next_ns += now_ns - self._now_ns
            self._next_company_ns += now_ns - self._now_ns
        self._now_ns = now_ns
        written: list[NewsItem] = []
        while self._next_ns <= now_ns:
            self._write_general(self._random.choice(CATEGORIES), self._next_ns)
            self._next_ns += self._wait()
        while self._companies and self._next_company_ns <= now_ns:
            company = self._random.choice(self._companies)
            written.append(self._write_company(company, self._next_company_ns))
            self._next_company_ns += self._wait()
        return written

    def general(self, category: str, after_id: int = 0) -> list[NewsItem]:
        """Items of one category with greater ids, newest first."""
        return [item for item in reversed(self._general[category]) if item.id > after_id]

    def company(self, symbol: str, first_day: str, last_day: str) -> list[NewsItem]:
        """Items of one company between two days (``YYYY-MM-DD``, UTC, inclusive), newest first."""
        items = self._company.get(symbol, ())
        return [item for item in reversed(items) if first_day <= _day(item) <= last_day]

    def _wait(self) -> int:
        return 1 + int(self._random.expovariate(1 / self._interval_ns))

    def _write_general(self, category: str, at_ns: int) -> None:
        shown_as = self._random.choice(_SHOWN_AS[category])
        item = self._write(shown_as, _HEADLINES[category], self._random.choice(_FIRMS), "", at_ns)
        self._general[category].append(item)

    def _write_company(self, company: tuple[str, str], at_ns: int) -> NewsItem:
        symbol, name = company
        item = self._write("company", _HEADLINES["company"], name, symbol, at_ns)
        self._company[symbol].append(item)
        return item

    def _write(
        self, category: str, templates: Sequence[str], company: str, related: str, at_ns: int
    ) -> NewsItem:
        random = self._random
        words = {name: random.choice(choices) for name, choices in _WORDS.items()}
        words |= {"company": company.title(), "amount": str(random.randint(1, 60))}
        headline = random.choice(templates).format(**words)
        headline = headline[0].upper() + headline[1:]
        source = random.choice(_SOURCES)
        item_id = self._next_id
        self._next_id += 1
        return NewsItem(
            category,
            at_ns // SECOND_NS,
            headline,
            item_id,
            "" if random.random() < 0.3 else f"https://news.example/image/{item_id}.jpg",
            related,
            source,
            f"{headline}. This item was made by a simulator; nothing of it happened.",
            f"https://news.example/{category.replace(' ', '-')}/{item_id}",
        )


def _day(item: NewsItem) -> str:
    return datetime.fromtimestamp(item.datetime, UTC).strftime("%Y-%m-%d")
