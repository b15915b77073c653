"""The simulated Kraken: one TCP port for WebSocket v2 (``/v2``) and the control endpoint.

What is said comes from ``streams``, what is answered from ``session``. There is no REST. A client
that has said and heard nothing for a minute is disconnected; a heartbeat is sent every second in
which nothing else was, once something is subscribed to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from bus.config.simulator import SimulatorSettings
from bus.simulator.clients import Client
from bus.simulator.faults import ALL_STREAMS, ONLINE
from bus.simulator.http_reply import HttpReply, Target, reply
from bus.simulator.instruments import E8
from bus.simulator.kraken import messages
from bus.simulator.kraken.session import Session, Subscription
from bus.simulator.kraken.streams import PairStreams
from bus.simulator.market import SymbolMarket
from bus.simulator.venue import World
from bus.simulator.venue_server import BaseServer

HEARTBEAT_NS: Final = 1_000_000_000
IDLE_NS: Final = 60_000_000_000
TICKS_E8: Final = {"BTC": E8 // 10}
"""Price increments that are this venue's own."""
INSTRUMENT_STREAM: Final = "*@instrument"


@dataclass(eq=False)
class Conversation:
    """One connection: its session, and when something was last said on it."""

    session: Session
    bytes_seen: int
    said_ns: int
    active_ns: int


class KrakenServer(BaseServer[Conversation]):
    """Made with its markets by pair; see :class:`~bus.simulator.venue_server.BaseServer`."""

    name: ClassVar[str] = "kraken"
    own_faults: ClassVar[frozenset[str]] = frozenset(
        {"drop_trade", "wrong_checksum", "engine_status"}
    )
    paths: ClassVar[frozenset[str]] = frozenset({"/v2", "/v2/"})

    def __init__(
        self,
        settings: SimulatorSettings,
        markets: Mapping[str, SymbolMarket],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(settings, clock)
        self.streams = {
            pair: PairStreams(market, self.fanout, self.faults) for pair, market in markets.items()
        }
        self._system = ONLINE

    @property
    def symbols(self) -> Sequence[str]:
        """The pairs."""
        return tuple(self.streams)

    def step(self, now_ns: int) -> None:
        """Move every market on, publish, then say what is due to each client."""
        if self._system != self.faults.system:
            self._system = self.faults.system
            for client in list(self.clients):
                client.push(messages.status(self._system))
            self.fanout.publish(INSTRUMENT_STREAM, now_ns, self._instruments())
        for one in self.streams.values():
            one.step(now_ns)
        silent = self.faults.is_silent(ALL_STREAMS, now_ns)
        for client, talk in list(self.clients.items()):
            if client.bytes_out != talk.bytes_seen:
                talk.bytes_seen = client.bytes_out
                talk.said_ns = talk.active_ns = now_ns
            elif talk.session.subscriptions and now_ns - talk.said_ns >= HEARTBEAT_NS:
                talk.said_ns = now_ns
                if not silent:
                    client.push(messages.HEARTBEAT)
            elif now_ns - talk.active_ns >= IDLE_NS:
                self.spawn(client.close(1000, "idle"))

    def begin(self, client: Client) -> Conversation:
        """The engine's state is told unasked."""
        now_ns = self._clock()
        if not self.faults.is_silent(ALL_STREAMS, now_ns):
            client.push(messages.status(self._system))
        return Conversation(Session(self.streams), client.bytes_out, now_ns, now_ns)

    async def converse(self, client: Client, session: Conversation) -> None:
        """Requests in, replies and snapshots out."""
        async for message in client.connection:
            self.traffic.messages_in += 1
            now_ns = self._clock()
            session.active_ns = now_ns
            answer = session.session.receive(message, now_ns)
            for text in answer.messages:
                client.push(text)
            for one in answer.removed:
                self.fanout.unsubscribe(client, one.stream)
            for one in answer.first:
                self._say_first(client, one, now_ns)
            for one in answer.added:
                self.fanout.subscribe(client, one.stream)

    def answer_rest(self, target: Target, now_ns: int) -> HttpReply:
        """This venue's REST is not simulated."""
        return reply({"error": ["EGeneral:Unknown method"]}, 404)

    def refuse_rest(self, status: int, wait_s: int) -> HttpReply:
        """A limit as the venue words it."""
        return reply({"error": ["EAPI:Rate limit exceeded"]}, status)

    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """A message for a fault, or ``None`` where this venue has no such thing."""
        if kind == "garbage":
            return b'{"channel":"book","type":"update","da' + b"\xc2\xa7"
        if kind == "unknown_event":
            return b'{"channel":"simulatedNovelty","type":"update","data":[]}'
        if kind == "big_frame":
            shell = b'{"channel":"simulatedNovelty","pad":"%b"}'
            return shell % (b"x" * (size - len(shell) + 2))
        return None

    def _say_first(self, client: Client, one: Subscription, now_ns: int) -> None:
        if self.faults.is_silent(one.stream, now_ns):
            return
        if one.channel == "instrument":
            client.push(self._instruments())
        elif one.channel == "book":
            client.push(self.streams[one.symbol].book(int(one.option), now_ns))
        elif one.channel == "ticker":
            client.push(self.streams[one.symbol].ticker(now_ns, "snapshot"))
        else:
            client.push(self.streams[one.symbol].trades())

    def _instruments(self) -> bytes:
        listed = [one.instrument for one in self.streams.values()]
        return messages.instrument_snapshot(listed, self._system)


def create(world: World) -> KrakenServer:
    """The venue as the settings want it. Raises :class:`bus.errors.ConfigError`."""
    markets = world.dollar_markets("/", TICKS_E8, diff_streams=0)
    return KrakenServer(world.settings, markets, world.clock)
