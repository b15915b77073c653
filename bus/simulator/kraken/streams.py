"""From one pair's market to Kraken's channels: who gets what, each message built once.

A book of depth N is what its subscribers can keep: the N best levels a side. Every step says what
has changed among them, and nothing of a level that only fell out of scope; the checksum is that of
the ten best after it.
"""

from __future__ import annotations

from typing import Final

from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults
from bus.simulator.kraken import messages
from bus.simulator.kraken.session import DEPTHS, TRIGGERS
from bus.simulator.ladder import Level
from bus.simulator.market import Quote, SymbolMarket, Trade

SNAPSHOT_TRADES: Final = 50

Side = dict[int, int]
"""Size by price, best first, both ``_e8``."""


def changes(old: Side, new: list[Level], exists: Side) -> list[Level]:
    """What a follower of ``old`` has to be told to get ``new``, if it cuts to the depth itself.

    ``exists``: sizes of the old levels in the whole book; a level with one there, but not in
    ``new``, fell out of scope: nothing is said of it.
    """
    now = dict(new)
    told = [level for level in new if old.get(level[0]) != level[1]]
    told += [(price, 0) for price in old if price not in now and not exists.get(price)]
    return told


class PairStreams:
    """Lets one market run and publishes what happens."""

    def __init__(self, market: SymbolMarket, fanout: Fanout, faults: Faults) -> None:
        self.market = market
        self.instrument = market.instrument
        self.pair = market.instrument.symbol
        self._fanout = fanout
        self._faults = faults
        self._precision = messages.price_precision(self.instrument)
        self._trade = f"{self.pair}@trade"
        self._tickers = {trigger: f"{self.pair}@ticker-{trigger}" for trigger in TRIGGERS}
        self._books = {depth: f"{self.pair}@book-{depth}" for depth in DEPTHS}
        self._shown: dict[int, tuple[Side, Side]] = {}
        self._update_id = market.ladder.update_id

    def step(self, now_ns: int) -> None:
        """Advance to ``now_ns`` and publish: trades, tickers, then books."""
        fanout, faults = self._fanout, self._faults
        quoted = False
        fills: list[Trade] = []
        for event in self.market.step(now_ns):
            if isinstance(event, Quote):
                quoted = True
            elif isinstance(event, Trade):
                fills.append(event)
        if fanout.wants(self._trade):
            kept = [fill for fill in fills if not faults.takes("drop_trade", self.pair)]
            if kept:
                message = messages.trades(self.instrument, kept, faults.skew_ns)
                fanout.publish(self._trade, now_ns, message)
        for trigger, due in (("trades", bool(fills)), ("bbo", quoted)):
            stream = self._tickers[trigger]
            if due and fanout.wants(stream):
                fanout.publish(stream, now_ns, self.ticker(now_ns, "update"))
        if self._update_id != self.market.ladder.update_id:
            self._update_id = self.market.ladder.update_id
            for depth, stream in self._books.items():
                if fanout.wants(stream):
                    self._publish_book(depth, stream, now_ns)
                else:
                    self._shown.pop(depth, None)

    def ticker(self, now_ns: int, kind: str) -> bytes:
        """The ticker as it is now."""
        return messages.ticker(
            self.instrument,
            self.market.quote(),
            self.market.window(now_ns),
            now_ns + self._faults.skew_ns,
            kind,
        )

    def trades(self) -> bytes:
        """The last 50 trades."""
        rows = list(self.market.recent_trades)[-SNAPSHOT_TRADES:]
        return messages.trades(self.instrument, rows, self._faults.skew_ns, "snapshot")

    def book(self, depth: int, now_ns: int) -> bytes:
        """The snapshot of a book; what is said next continues it.

        Others of the same depth may have been told an older state: it is the state of the last
        step for all of them, because the market moves in steps only.
        """
        shown = self._shown.get(depth)
        if shown is None:
            _, bids, asks = self.market.snapshot(depth)
            self._shown[depth] = (dict(bids), dict(asks))
        else:
            bids, asks = list(shown[0].items()), list(shown[1].items())
        crc = self._checksum(bids, asks)
        return messages.book(self.instrument, "snapshot", bids, asks, crc, now_ns)

    def _publish_book(self, depth: int, stream: str, now_ns: int) -> None:
        _, bids, asks = self.market.snapshot(depth)
        old_bids, old_asks = self._shown.get(depth, ({}, {}))
        self._shown[depth] = (dict(bids), dict(asks))
        ladder = self.market.ladder
        gone_bids = {price: ladder.size(True, price) for price in old_bids}
        gone_asks = {price: ladder.size(False, price) for price in old_asks}
        told_bids = changes(old_bids, bids, gone_bids)
        told_asks = changes(old_asks, asks, gone_asks)
        if not told_bids and not told_asks:
            return
        crc = self._checksum(bids, asks)
        message = messages.book(
            self.instrument,
            "update",
            told_bids,
            told_asks,
            crc,
            now_ns + self._faults.skew_ns,
        )
        self._fanout.publish(stream, now_ns, message, is_diff=True)

    def _checksum(self, bids: list[Level], asks: list[Level]) -> int:
        crc = messages.checksum(bids, asks, self._precision)
        if self._faults.takes("wrong_checksum", self.pair):
            return crc ^ 1
        return crc
