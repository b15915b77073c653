"""A Binance of two symbols that a test drives by hand, and the real feed running against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection

from bus.config import FeedSettings
from bus.feeds.binance.venue import BinanceFeed
from bus.feeds.feed import Feed
from tests.feeds.fake_venue import FakeVenue, RestAnswer, fake_venue, ok
from tests.feeds.tap import Statuses, Tap, make_feed


@dataclass
class Binance:
    """The venue's side. ``snapshots`` are served in turn, the last one again and again."""

    venue: FakeVenue
    snapshots: dict[str, list[RestAnswer]] = field(default_factory=dict)
    info: RestAnswer | None = None
    acknowledge: bool = True
    traded: dict[str, list[int]] = field(default_factory=dict)
    """Ids of the last trades by venue symbol, as REST tells them."""

    def __post_init__(self) -> None:
        self.venue.rest = self._rest
        self.venue.on_message = self._on_message
        for venue_symbol in ("BTCUSDT", "ETHUSDT"):
            self.snapshots[venue_symbol] = [snapshot(100)]

    @property
    def subscribed(self) -> list[str]:
        """Every stream name subscribed to, in order, over all connections."""
        sent = [json.loads(message) for message in self.venue.messages]
        return [name for one in sent if one["method"] == "SUBSCRIBE" for name in one["params"]]

    def depth_requests(self, venue_symbol: str) -> int:
        return sum(
            path == "/api/v3/depth" and query["symbol"] == venue_symbol
            for path, query in self.venue.requests
        )

    def say(self, stream: str, to: int = -1, **data: Any) -> None:
        self.venue.say(json.dumps({"stream": stream, "data": data}), to=to)

    def trade(self, venue_symbol: str, trade_id: int, price: str = "100.5", to: int = -1) -> None:
        stream = f"{venue_symbol.lower()}@trade"
        self.say(
            stream, to, e="trade", E=2, s=venue_symbol, t=trade_id, p=price, q="1", T=1, m=True
        )

    def diff(self, venue_symbol: str, first: int, last: int, to: int = -1) -> None:
        stream = f"{venue_symbol.lower()}@depth@100ms"
        bids = [["99.00000000", f"{last}.00000000"]]
        self.say(stream, to, e="depthUpdate", E=2, s=venue_symbol, U=first, u=last, b=bids, a=[])

    def everything(self, venue_symbol: str, number: int, to: int = -1) -> None:
        """One event on each of a symbol's four streams; the diff is 101 + ``number``."""
        name = venue_symbol.lower()
        self.trade(venue_symbol, number, to=to)
        self.say(
            f"{name}@bookTicker", to, u=101 + number, b="99", B=f"{101 + number}", a="101", A="1"
        )
        figures = dict.fromkeys("pPcohlvqbBaA", "1")
        self.say(f"{name}@ticker", to, e="24hrTicker", E=number, O=1, C=1, n=1, **figures)
        self.diff(venue_symbol, 101 + number, 101 + number, to=to)

    def _rest(self, path: str, query: dict[str, str]) -> RestAnswer:
        if path == "/api/v3/exchangeInfo":
            return self.info or exchange_info()
        if path == "/api/v3/trades":
            return trades(self.traded.get(query["symbol"], [])[-int(query["limit"]) :])
        answers = self.snapshots[query["symbol"]]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _on_message(self, connection: ServerConnection, message: str) -> None:
        if self.acknowledge:
            reply = json.dumps({"result": None, "id": json.loads(message)["id"]})
            connection.protocol.send_text(reply.encode())
            connection.transport.write(b"".join(connection.protocol.data_to_send()))


def trades(ids: Sequence[int]) -> RestAnswer:
    """Each at the price of its id."""
    return ok(
        [
            {
                "id": trade_id,
                "price": f"{trade_id}.00000000",
                "qty": "1.00000000",
                "quoteQty": f"{trade_id}.00000000",
                "time": 1,
                "isBuyerMaker": False,
                "isBestMatch": True,
            }
            for trade_id in ids
        ]
    )


def snapshot(last_update_id: int) -> RestAnswer:
    return ok(
        {
            "lastUpdateId": last_update_id,
            "bids": [["99.00000000", "1.00000000"]],
            "asks": [["101.00000000", "1.00000000"]],
        }
    )


def exchange_info(*symbols: str) -> RestAnswer:
    pairs = symbols or ("BTC-USDT", "ETH-USDT")
    listed = [
        {
            "symbol": pair.replace("-", ""),
            "status": "TRADING",
            "baseAsset": pair.split("-")[0],
            "quoteAsset": pair.split("-")[1],
            "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01000000"}],
        }
        for pair in pairs
    ]
    return ok({"symbols": listed, "rateLimits": []})


@dataclass
class Running:
    """The feed's side."""

    binance: Binance
    venue: FakeVenue
    tap: Tap
    statuses: Statuses
    feed: Feed
    binance_feed: BinanceFeed
    task: asyncio.Task[None]

    def report(self, key: str) -> Any:
        return self.binance_feed.report()[key]


@asynccontextmanager
async def running_feed(prepare: Any = None, **settings: Any) -> AsyncIterator[Running]:
    """The real feed against the fake venue; ``prepare(binance)`` runs before it starts."""
    async with fake_venue() as venue:
        binance = Binance(venue)
        if prepare is not None:
            prepare(binance)
        tap, statuses = Tap(), Statuses()
        options = {
            "symbols": ("BTC-USDT", "ETH-USDT"),
            "retry_floor_s": 0.01,
            "retry_cap_s": 0.05,
            "messages_per_s": 100,
            **settings,
        }
        feed = make_feed(
            tap,
            statuses,
            FeedSettings(**options),
            ws_base=venue.ws_base,
            rest_base=venue.rest_base,
        )
        binance_feed = BinanceFeed(feed)
        task = asyncio.ensure_future(binance_feed.run())
        try:
            yield Running(binance, venue, tap, statuses, feed, binance_feed, task)
        finally:
            feed.stopping.set()
            await asyncio.wait_for(task, 5)
