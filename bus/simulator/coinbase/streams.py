"""From one product's market to Coinbase's channels: who gets what, each message built once.

``level2_batch`` sends every 50 ms what has changed, ``ticker`` after every match with the fills of
one aggressive order taken together, ``heartbeat`` once a second. ``sequence`` counts the product's
whole feed, of which each channel shows a part: it grows, and it skips.
"""

from __future__ import annotations

from typing import Final

from bus.simulator.coinbase import messages
from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults
from bus.simulator.market import Quote, SymbolMarket, Trade

BATCH_NS: Final = 50_000_000
TICKER_BATCH_NS: Final = 5_000_000_000
HEARTBEAT_NS: Final = 1_000_000_000
L2_STREAM: Final = 0
"""The ladder's diff stream that ``level2_batch`` reads."""


class ProductStreams:
    """Lets one market run and publishes what happens. ``phase_ns`` shifts its grids."""

    def __init__(
        self, market: SymbolMarket, fanout: Fanout, faults: Faults, phase_ns: int = 0
    ) -> None:
        self.market = market
        self.instrument = market.instrument
        self.product = market.instrument.symbol
        self._fanout = fanout
        self._faults = faults
        self._phase_ns = phase_ns
        self._match = f"{self.product}@matches"
        self._ticker = f"{self.product}@ticker"
        self._ticker_batch = f"{self.product}@ticker_batch"
        self._level2 = f"{self.product}@level2_batch"
        self._heartbeat = f"{self.product}@heartbeat"
        self._quote = market.quote()
        self._trades = 0
        self._pending: Trade | None = None
        self._batch_ticker: bytes | None = None
        self.last_trade: Trade | None = None
        self.last_trade_id = market.window(market.now_ns).last_id
        self.sequence = market.ladder.update_id
        self._slots = [0, 0, 0]

    def step(self, now_ns: int) -> None:
        """Advance to ``now_ns`` and publish in the order of events; book changes come last."""
        fanout = self._fanout
        for event in self.market.step(now_ns):
            self.sequence += 1
            if isinstance(event, Trade):
                if self._pending is not None and event.time_ns != self._pending.time_ns:
                    self._publish_ticker(now_ns)
                self._pending = self.last_trade = event
                self.last_trade_id = event.trade_id
                self._trades += 1
                if fanout.wants(self._match) and not self._faults.takes("drop_trade", self.product):
                    message = messages.match(
                        self.instrument, event, self.sequence, self._faults.skew_ns
                    )
                    fanout.publish(self._match, now_ns, message)
            elif isinstance(event, Quote):
                self._quote = event
                self._publish_ticker(now_ns)
        self._publish_ticker(now_ns)
        self.sequence = max(self.sequence, self.market.ladder.update_id + self._trades)
        if self._slot(0, now_ns, BATCH_NS):
            self._publish_book(now_ns)
        if self._slot(1, now_ns, HEARTBEAT_NS):
            shown_ns = now_ns + self._faults.skew_ns
            fanout.publish(
                self._heartbeat,
                now_ns,
                messages.heartbeat(self.product, self.sequence, self.last_trade_id, shown_ns),
            )
        if self._slot(2, now_ns, TICKER_BATCH_NS) and self._batch_ticker is not None:
            fanout.publish(self._ticker_batch, now_ns, self._batch_ticker)
            self._batch_ticker = None

    def first_match(self) -> bytes | None:
        """The first message of ``matches``: the last trade, if there was one."""
        if self.last_trade is None:
            return None
        return messages.match(
            self.instrument, self.last_trade, self.sequence, self._faults.skew_ns, "last_match"
        )

    def snapshot(self) -> bytes:
        """The first message of ``level2_batch``: the whole book as it is now.

        The next batch repeats what changed since the batch before; sizes are absolute.
        """
        _, bids, asks = self.market.snapshot(10**9)
        return messages.snapshot(self.instrument, bids, asks)

    def _publish_ticker(self, now_ns: int) -> None:
        trade, self._pending = self._pending, None
        if trade is None:
            return
        if not (self._fanout.wants(self._ticker) or self._fanout.wants(self._ticker_batch)):
            return
        window = self.market.window(max(now_ns, trade.time_ns))
        message = messages.ticker(
            self.instrument, trade, self._quote, window, self.sequence, self._faults.skew_ns
        )
        self._batch_ticker = message
        self._fanout.publish(self._ticker, now_ns, message)

    def _publish_book(self, now_ns: int) -> None:
        if not self._fanout.wants(self._level2):
            self.market.ladder.skip_diff(L2_STREAM)
        elif (diff := self.market.take_diff(L2_STREAM)) is not None:
            message = messages.l2update(self.instrument, diff, now_ns + self._faults.skew_ns)
            self._fanout.publish(self._level2, now_ns, message, is_diff=True)

    def _slot(self, index: int, now_ns: int, length_ns: int) -> bool:
        slot = (now_ns + self._phase_ns) // length_ns
        if slot == self._slots[index]:
            return False
        self._slots[index] = slot
        return True
