"""Recorded Binance frames through ccxt pro's own client and handlers; run by ``bench.feeds``.

Runs in a virtual environment that holds ccxt and nothing of ours. Arguments and output as in
``cryptofeed_peer``.

The library is what its users run: its WebSocket client takes the text of each frame, decodes it
and hands it to ``binance.handle_message``. Somebody waits for each next result, as a loop around
``watch_trades`` or ``watch_order_book`` does: the future is made anew for every frame. The market
table and the book's snapshot are put in, as its REST calls would have brought them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ccxt.pro  # type: ignore[import-not-found]
from ccxt.async_support.base.ws.client import Client  # type: ignore[import-not-found]

SYMBOL = "BTC/USDT"
BOOK = (1971, 2962)
"""Levels of the recorded book at its end: whoever applied every change has so many."""
EARLY = 3  # diffs before the snapshot's reply in the recording; the third bridges it
AWAITED = {
    "trade": f"trade::{SYMBOL}",
    "bookTicker": f"bidask:bookTicker@{SYMBOL}",
    "24hrTicker": f"ticker:ticker@{SYMBOL}",
    "depthUpdate": f"orderbook::{SYMBOL}",
}


def exchange() -> Any:
    made = ccxt.pro.binance()
    market = made.safe_market_structure(
        {
            "id": "BTCUSDT",
            "symbol": SYMBOL,
            "base": "BTC",
            "quote": "USDT",
            "baseId": "BTC",
            "quoteId": "USDT",
            "type": "spot",
            "spot": True,
            "active": True,
            "precision": {"price": 0.01, "amount": 0.00001},
        }
    )
    made.set_markets([market])
    return made


async def measure(event: str, frames: list[str], snapshot: str) -> tuple[float, int]:
    made = exchange()
    url = "wss://stream.binance.com:9443/stream"
    client = Client(url, made.handle_message, None, None, None, {})
    awaited = AWAITED[event]
    if event == "depthUpdate":
        book = made.orderbooks[SYMBOL] = made.order_book({}, 1_000)
        for frame in frames[:EARLY]:
            client.handle_text_or_binary_message(frame)
        made.fetch_rest_order_book_safe = _answer(made, snapshot)
        await made.fetch_order_book_snapshot(client, {}, {"symbol": SYMBOL, "type": "spot"})
        if book["nonce"] is None:
            raise SystemExit("the recorded snapshot does not join the recorded diffs")
        frames = frames[EARLY:]
    results = 0
    started_s = time.thread_time()
    for frame in frames:
        future = client.future(awaited)
        client.handle_text_or_binary_message(frame)
        results += future.done()
    spent_s = time.thread_time() - started_s
    if event == "depthUpdate" and (len(book["bids"]), len(book["asks"])) != BOOK:
        raise SystemExit(f"the book ended with {len(book['bids'])}/{len(book['asks'])} levels")
    await made.close()
    return spent_s / len(frames), results


def _answer(made: Any, snapshot: str) -> Any:
    async def fetch(symbol: str, limit: int | None = None, params: Any = None) -> Any:
        raw = json.loads(snapshot)
        parsed = made.parse_order_book(raw, symbol)
        parsed["nonce"] = raw["lastUpdateId"]
        return parsed

    return fetch


def main() -> None:
    folder, rounds = Path(sys.argv[1]), int(sys.argv[2])
    snapshot = (folder / "snapshot.json").read_text()
    events = {}
    for path in sorted(folder.glob("*.lines")):
        frames = path.read_text().splitlines()
        best = min(asyncio.run(measure(path.stem, frames, snapshot)) for _ in range(rounds))
        events[path.stem] = {"cpu_s": best[0], "calls": best[1], "frames": len(frames)}
    print(json.dumps({"version": version("ccxt"), "events": events}))


if __name__ == "__main__":
    main()
