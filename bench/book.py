"""Whether keeping a book slows down with the number of updates it has seen.

One book is fed changes that wander with the price, as a busy market's do: most alter a level near
the best one, some add and remove levels far away. The time per update (a diff of 22 levels, as the
median of recorded BTCUSDT diffs, applied, and the best 20 read off) is measured over the first and
over the last part. A book that leaked levels, or whose lists grew, would show here.

    python -m bench.book [--updates 10000000]

``--updates`` counts changed levels. Shared machines make single figures noisy: compare both ends
of one run, not runs.
"""

from __future__ import annotations

import argparse
import platform
import random
import resource
import statistics
import time

from bus.book import Level, OrderBook

LEVELS_A_DIFF = 22
POOL = 20_000
PARTS = 20


def diffs(rng: random.Random) -> list[tuple[list[Level], list[Level]]]:
    """A pool of diffs around a price that walks and comes back, so that it may be repeated."""
    pool: list[tuple[list[Level], list[Level]]] = []
    middle = 6_000_000  # in cents
    for number in range(POOL):
        middle += rng.randint(-20, 20) + (6_000_000 - middle) // 500
        bids: list[Level] = []
        asks: list[Level] = []
        for _ in range(LEVELS_A_DIFF // 2):
            away = (
                int(rng.expovariate(1 / 60.0)) + 1 if rng.random() < 0.9 else rng.randint(1, 9_000)
            )
            size = 0.0 if rng.random() < 0.45 else round(rng.random() * 3, 5)
            bids.append(((middle - away) / 100, size))
            asks.append(((middle + away) / 100, size))
        # what the price has walked through is taken away, as a venue does
        bids += [((middle + away) / 100, 0.0) for away in range(20)]
        asks += [((middle - away) / 100, 0.0) for away in range(20)]
        pool.append((bids, asks) if number % 2 else (asks_first(bids), asks))
    return pool


def asks_first(levels: list[Level]) -> list[Level]:
    """The same levels in reverse: venues promise no order inside a diff."""
    return levels[::-1]


def main() -> None:
    """Measure, and print one line a part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--updates", type=int, default=10_000_000)
    wanted = parser.parse_args().updates
    pool = diffs(random.Random(7))
    a_round = sum(len(bids) + len(asks) for bids, asks in pool)
    book = OrderBook()
    book.load(
        [((6_000_000 - away) / 100, 1.0) for away in range(1, 1_001)],
        [((6_000_000 + away) / 100, 1.0) for away in range(1, 1_001)],
    )
    rounds = max(PARTS, -(-wanted // a_round))
    print(
        f"python {platform.python_version()}, {platform.machine()}; {rounds} rounds of {a_round:,}"
    )
    figures: list[float] = []
    for number in range(rounds):
        times: list[int] = []
        clock = time.perf_counter_ns
        for bids, asks in pool:
            started = clock()
            book.apply(bids, asks)
            book.top(20)
            times.append(clock() - started)
        median_us = statistics.median(times) / 1e3
        figures.append(median_us)
        if number in (0, rounds // 2, rounds - 1):
            seen = (number + 1) * a_round
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"after {seen:>11,} level updates: {median_us:6.2f} µs a diff (median), "
                f"{book.bid_count:,} bids, {book.ask_count:,} asks, {memory:.0f} MiB"
            )
    start = statistics.median(figures[: max(1, rounds // 10)])
    end = statistics.median(figures[-max(1, rounds // 10) :])
    print(f"start {start:.2f} µs, end {end:.2f} µs a diff: {(end / start - 1) * 100:+.1f} %")


if __name__ == "__main__":
    main()
