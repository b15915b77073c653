"""The simulated Coinbase Exchange: one TCP port for WebSocket, REST and the control endpoint.

What is said comes from ``streams``, what is answered from ``session`` and ``rest``. A client that
has not subscribed within five seconds is disconnected.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

from bus.config.simulator import SimulatorSettings
from bus.simulator.clients import Client
from bus.simulator.coinbase import messages
from bus.simulator.coinbase.rest import CoinbaseRest
from bus.simulator.coinbase.session import Session
from bus.simulator.coinbase.streams import ProductStreams
from bus.simulator.http_reply import HttpReply, Target, reply
from bus.simulator.market import SymbolMarket
from bus.simulator.venue import World
from bus.simulator.venue_server import BaseServer

FIRST_MESSAGE_S: Final = 5.0
PHASE_NS: Final = 10_000_000
POLICY_VIOLATION: Final = 1008


class CoinbaseServer(BaseServer[Session]):
    """Made with its markets by product; see :class:`~bus.simulator.venue_server.BaseServer`."""

    name: ClassVar[str] = "coinbase"
    own_faults: ClassVar[frozenset[str]] = frozenset({"drop_trade"})

    def __init__(
        self,
        settings: SimulatorSettings,
        markets: Mapping[str, SymbolMarket],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(settings, clock)
        self.streams = {
            product: ProductStreams(market, self.fanout, self.faults, index * PHASE_NS)
            for index, (product, market) in enumerate(markets.items())
        }
        self.first_message_s = FIRST_MESSAGE_S
        self._rest = CoinbaseRest(self.streams)

    @property
    def symbols(self) -> Sequence[str]:
        """The products."""
        return tuple(self.streams)

    def step(self, now_ns: int) -> None:
        """Move every market on and publish what happened."""
        for one in self.streams.values():
            one.step(now_ns)

    def begin(self, client: Client) -> Session:
        """Nothing is said to a client that has just come."""
        return Session(self.streams)

    async def converse(self, client: Client, session: Session) -> None:
        """Requests in, replies and first messages out."""
        try:
            async with asyncio.timeout(self.first_message_s):
                first = await client.connection.recv()
        except TimeoutError:
            await client.close(POLICY_VIOLATION, "no subscribe message within 5 seconds")
            return
        self._heed(client, session, first)
        async for message in client.connection:
            if not session.count_message(self._clock()):
                self.traffic.flood_clients += 1
                await client.close(POLICY_VIOLATION, "ErrSlowRead")
                return
            self._heed(client, session, message)

    def answer_rest(self, target: Target, now_ns: int) -> HttpReply:
        """``/products`` and what is below it."""
        return self._rest.answer(target.path, target.query, now_ns, self.faults.skew_ns)

    def refuse_rest(self, status: int, wait_s: int) -> HttpReply:
        """A limit as the venue words it."""
        return reply({"message": "Public rate limit exceeded"}, status)

    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """A message for a fault, or ``None`` where this venue has no such thing."""
        if kind == "garbage":
            return b'{"type":"match","trade_id":17,"sequ' + b"\xc2\xa7"
        if kind == "unknown_event":
            return b'{"type":"simulatedNovelty","product_id":"BTC-USD"}'
        if kind == "big_frame":
            shell = b'{"type":"simulatedNovelty","pad":"%b"}'
            return shell % (b"x" * (size - len(shell) + 2))
        return None

    def _heed(self, client: Client, session: Session, message: str | bytes) -> None:
        self.traffic.messages_in += 1
        answer = session.receive(message)
        client.push(answer.message)
        for channel, product in answer.removed:
            self.fanout.unsubscribe(client, f"{product}@{channel}")
        for channel, product in answer.added:
            self.fanout.subscribe(client, f"{product}@{channel}")
            self._say_first(client, channel, product)

    def _say_first(self, client: Client, channel: str, product: str) -> None:
        now_ns = self._clock()
        if self.faults.is_silent(f"{product}@{channel}", now_ns):
            return
        if channel == "level2_batch":
            client.push(self.streams[product].snapshot())
        elif channel == "matches":
            last = self.streams[product].first_match()
            if last is not None:
                client.push(last)
        elif channel == "status":
            client.push(messages.status([one.instrument for one in self.streams.values()]))


def create(world: World) -> CoinbaseServer:
    """The venue as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    markets = world.dollar_markets("-", {}, diff_streams=1)
    return CoinbaseServer(world.settings, markets, world.clock)
