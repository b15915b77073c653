"""Recorded Binance frames through cryptofeed's own message handler; run by ``bench.feeds``.

Runs in a virtual environment that holds cryptofeed and nothing of ours. Arguments: a folder of
``<event>.lines`` files (one frame a line) and ``snapshot.json``, then the number of rounds. Prints
one JSON object: version, what was done, and for each event the best CPU seconds and the callbacks.

The library is what its users run: ``Binance.message_handler`` with one coroutine a channel that
does nothing. Only two things are put in its way: the symbol table comes from here instead of the
venue's REST, and so does the book's snapshot, as its HTTP client would have brought it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cryptofeed.defines import L2_BOOK, TICKER, TRADES  # type: ignore[import-not-found]
from cryptofeed.exchanges import Binance  # type: ignore[import-not-found]
from cryptofeed.symbols import Symbols  # type: ignore[import-not-found]

PAIR = "BTC-USDT"
BOOK = (1971, 2962)
"""Levels of the recorded book at its end: whoever applied every change has so many."""
EARLY = 3  # diffs before the snapshot's reply in the recording; the third bridges it


class Snapshot:
    """Stands where the library's HTTP client is: answers every request with the snapshot."""

    def __init__(self, body: str) -> None:
        self._body = body

    async def read(self, *_: Any, **__: Any) -> str:
        return self._body


async def measure(event: str, frames: list[str], snapshot: str) -> tuple[float, int]:
    calls = 0

    async def note(item: object, receipt_timestamp: float) -> None:
        nonlocal calls
        calls += 1

    callbacks = {TRADES: note, TICKER: note, L2_BOOK: note}
    feed = Binance(symbols=[PAIR], channels=list(callbacks), callbacks=callbacks)
    feed.http_conn = Snapshot(snapshot)
    if event == "depthUpdate":
        for frame in frames[:EARLY]:
            await feed.message_handler(frame, None, time.time())
        frames = frames[EARLY:]
        calls = 0
    started_s = time.thread_time()
    for frame in frames:
        await feed.message_handler(frame, None, time.time())
    spent_s = time.thread_time() - started_s
    if event == "depthUpdate":
        book = feed._l2_book[PAIR].book
        if (len(book.bids), len(book.asks)) != BOOK:
            raise SystemExit(f"the book ended with {len(book.bids)}/{len(book.asks)} levels")
    return spent_s / len(frames), calls


def main() -> None:
    logging.disable(logging.CRITICAL)
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    Symbols.set(
        Binance.id,
        {PAIR: "BTCUSDT"},
        {"tick_size": {PAIR: "0.01"}, "instrument_type": {PAIR: "spot"}},
    )
    snapshot = (folder / "snapshot.json").read_text()
    events = {}
    for path in sorted(folder.glob("*.lines")):
        frames = path.read_text().splitlines()
        if path.stem == "24hrTicker":  # the library subscribes to no such stream
            continue
        if path.stem == "trade":  # it takes aggTrade: the same fields, `a` in the place of `t`
            frames = [_as_aggregate(frame) for frame in frames]
        best = min(asyncio.run(measure(path.stem, frames, snapshot)) for _ in range(rounds))
        events[path.stem] = {"cpu_s": best[0], "calls": best[1], "frames": len(frames)}
    print(json.dumps({"version": version("cryptofeed"), "events": events}))


def _as_aggregate(frame: str) -> str:
    message = json.loads(frame)
    data = message["data"]
    trade_id = data["t"]
    changed = {"e": "aggTrade", "a": trade_id, "f": trade_id, "l": trade_id}
    kept = {key: data[key] for key in ("E", "s", "p", "q", "T", "m", "M")}
    stream = message["stream"].replace("@trade", "@aggTrade")
    return json.dumps({"stream": stream, "data": {**changed, **kept}}, separators=(",", ":"))


if __name__ == "__main__":
    main()
