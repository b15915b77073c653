"""From market events to Binance streams: who gets what, each message built and encoded once.

A message is built when its first subscriber needs it, once for each of the four forms (wrapped or
not, milliseconds or microseconds), and shared among all clients that want that form. A stream
nobody has subscribed to costs one dictionary look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bus.simulator.binance import messages
from bus.simulator.binance.messages import NS_PER_MS, NS_PER_US, VenueTime
from bus.simulator.clients import Client
from bus.simulator.faults import Faults
from bus.simulator.market import (
    FAST_DIFF,
    SLOW_DIFF,
    AggregateTrade,
    Quote,
    SymbolMarket,
    Trade,
)

FAST_NS = 100 * NS_PER_MS
SLOW_NS = 1_000 * NS_PER_MS
PARTIAL_DEPTHS = (5, 10, 20)
ALL_MINI_TICKERS = "!miniTicker@arr"

Form = tuple[bool, bool]
"""Wrapped with the stream name; times in microseconds."""

Build = Callable[[VenueTime], bytes]
Delivery = list[tuple[bytes, tuple[Client, ...]]]


class Hub:
    """Which clients take which stream in which form."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._takers: dict[str, dict[Form, dict[Client, None]]] = {}

    def subscribe(self, client: Client, form: Form, streams: Iterable[str]) -> None:
        """Add the client to every stream (known or not: unknown ones never speak)."""
        for stream in streams:
            self._takers.setdefault(stream, {}).setdefault(form, {})[client] = None

    def unsubscribe(self, client: Client, streams: Iterable[str]) -> None:
        """Take the client off the streams, whatever form it had."""
        for stream in streams:
            forms = self._takers.get(stream)
            if forms is None:
                continue
            for form in list(forms):
                forms[form].pop(client, None)
                if not forms[form]:
                    del forms[form]
            if not forms:
                del self._takers[stream]

    def wants(self, stream: str) -> bool:
        """Whether anybody takes this stream."""
        return stream in self._takers

    def loses_trade(self, symbol: str) -> bool:
        """Whether the next trade of a symbol is not to be told, by an armed fault."""
        return self._faults.takes("drop_trade", symbol)

    @property
    def stream_count(self) -> int:
        """Streams with at least one subscriber."""
        return len(self._takers)

    def publish(self, stream: str, now_ns: int, build: Build, *, is_diff: bool = False) -> None:
        """Build and push one event of a stream to everybody who takes it.

        ``is_diff`` events pass through the armed diff faults (drop, repeat, swap).
        """
        forms = self._takers.get(stream)
        if forms is None or self._faults.is_silent(stream, now_ns):
            return
        payloads: dict[bool, bytes] = {}
        delivery: Delivery = []
        for (combined, micro), clients in forms.items():
            if micro not in payloads:
                unit_ns = NS_PER_US if micro else NS_PER_MS
                payloads[micro] = build(VenueTime(unit_ns, self._faults.skew_ns))
            payload = payloads[micro]
            message = messages.wrapped(stream, payload) if combined else payload
            delivery.append((message, tuple(clients)))
        deliveries = self._faults.pass_diff(stream, delivery) if is_diff else [delivery]
        for delivery in deliveries:
            for message, takers in delivery:
                for client in takers:
                    client.push(message)


class SymbolStreams:
    """Lets one symbol's market run and publishes what happens on its streams.

    ``phase_ns`` shifts the symbol's 100 ms and 1 s grids against the other symbols', so that not
    everything falls into one step.
    """

    def __init__(self, market: SymbolMarket, hub: Hub, phase_ns: int) -> None:
        self.market = market
        self._hub = hub
        self._phase_ns = phase_ns
        self.symbol = market.instrument.symbol
        name = self.symbol.lower()
        self._trade = f"{name}@trade"
        self._aggregate_trade = f"{name}@aggTrade"
        self._book_ticker = f"{name}@bookTicker"
        self._ticker = f"{name}@ticker"
        self._mini_ticker = f"{name}@miniTicker"
        self._fast_depth = f"{name}@depth@100ms"
        self._slow_depth = f"{name}@depth"
        self._fast_partial = [(f"{name}@depth{n}@100ms", n) for n in PARTIAL_DEPTHS]
        self._slow_partial = [(f"{name}@depth{n}", n) for n in PARTIAL_DEPTHS]
        self._fast_slot = (market.now_ns + phase_ns) // FAST_NS
        self._slow_slot = (market.now_ns + phase_ns) // SLOW_NS

    def step(self, now_ns: int) -> None:
        """Advance to ``now_ns`` and publish, in the order of events; diffs come last."""
        hub, symbol = self._hub, self.symbol
        wants_trade = hub.wants(self._trade)
        wants_aggregate = hub.wants(self._aggregate_trade)
        wants_quote = hub.wants(self._book_ticker)
        for event in self.market.step(now_ns):
            if isinstance(event, Quote):
                if wants_quote:
                    message = messages.book_ticker(symbol, event)
                    hub.publish(self._book_ticker, now_ns, _same(message))
            elif isinstance(event, Trade):
                if wants_trade and not hub.loses_trade(symbol):
                    hub.publish(self._trade, now_ns, _trade(symbol, event, now_ns))
            elif wants_aggregate:
                build = _aggregate_trade(symbol, event, now_ns)
                hub.publish(self._aggregate_trade, now_ns, build)
        fast_slot = (now_ns + self._phase_ns) // FAST_NS
        if fast_slot != self._fast_slot:
            self._fast_slot = fast_slot
            self._publish_depth(self._fast_depth, FAST_DIFF, self._fast_partial, now_ns)
        slow_slot = (now_ns + self._phase_ns) // SLOW_NS
        if slow_slot != self._slow_slot:
            self._slow_slot = slow_slot
            self._publish_depth(self._slow_depth, SLOW_DIFF, self._slow_partial, now_ns)
            self._publish_tickers(now_ns)

    def mini_ticker(self, now_ns: int, stamp: VenueTime) -> bytes:
        """This symbol's item of the all-market stream."""
        return messages.mini_ticker(self.symbol, self.market.window(now_ns), now_ns, stamp)

    def _publish_depth(
        self, stream: str, diff_stream: int, partials: list[tuple[str, int]], now_ns: int
    ) -> None:
        hub, market, symbol = self._hub, self.market, self.symbol
        if not hub.wants(stream):
            market.ladder.skip_diff(diff_stream)
        elif (diff := market.take_diff(diff_stream)) is not None:
            hub.publish(
                stream,
                now_ns,
                lambda stamp: messages.depth_update(symbol, diff, now_ns, stamp),
                is_diff=True,
            )
        for name, limit in partials:
            if hub.wants(name):
                hub.publish(name, now_ns, _same(messages.depth_snapshot(*market.snapshot(limit))))

    def _publish_tickers(self, now_ns: int) -> None:
        hub, symbol = self._hub, self.symbol
        if hub.wants(self._ticker):
            window, quote = self.market.window(now_ns), self.market.quote()
            hub.publish(
                self._ticker,
                now_ns,
                lambda stamp: messages.ticker(symbol, window, quote, now_ns, stamp),
            )
        if hub.wants(self._mini_ticker):
            hub.publish(self._mini_ticker, now_ns, lambda stamp: self.mini_ticker(now_ns, stamp))


class MarketStreams:
    """All symbols together: one :meth:`step` moves the whole venue on."""

    def __init__(self, markets: Iterable[SymbolMarket], hub: Hub) -> None:
        self._hub = hub
        self._symbols = [
            SymbolStreams(market, hub, index * 20 * NS_PER_MS)
            for index, market in enumerate(markets)
        ]
        self._slow_slot = 0

    def step(self, now_ns: int) -> None:
        """Advance every symbol to ``now_ns`` and publish what happened."""
        for symbol in self._symbols:
            symbol.step(now_ns)
        slow_slot = now_ns // SLOW_NS
        if slow_slot != self._slow_slot:
            self._slow_slot = slow_slot
            if self._hub.wants(ALL_MINI_TICKERS):
                self._hub.publish(
                    ALL_MINI_TICKERS,
                    now_ns,
                    lambda stamp: (
                        b"[%b]"
                        % b",".join([symbol.mini_ticker(now_ns, stamp) for symbol in self._symbols])
                    ),
                )


def _same(message: bytes) -> Build:
    """A payload without times is the same in every form."""
    return lambda _stamp: message


def _trade(symbol: str, event: Trade, now_ns: int) -> Build:
    return lambda stamp: messages.trade(symbol, event, now_ns, stamp)


def _aggregate_trade(symbol: str, event: AggregateTrade, now_ns: int) -> Build:
    return lambda stamp: messages.aggregate_trade(symbol, event, now_ns, stamp)
