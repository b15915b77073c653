"""Plays a recording to each client from its start, byte for byte, as fast as asked.

Every client that subscribes to a recorded stream gets a player of its own: the recording from the
first line, its subscribed streams only. At a speed of N the recorded gaps shrink N times; flat out
("max") nothing waits but TCP: each frame is sent with back-pressure and none is ever dropped.

The recorded REST depth reply has its place in the recording. A depth request is answered once the
newest player has passed that place (with ``hold``: the player stops there until somebody asks),
so a client's buffering of earlier diffs matters exactly as it did on the recorded day. A later
request of the same run (a resync) gets the book as the recording makes it at the player's place.
Whoever asks while nothing plays waits, and gets the venue's own -1007 after ten seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from websockets.exceptions import ConnectionClosed

from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.simulator.binance.messages import VenueTime
from bus.simulator.binance.recording import Line, Recording, cut
from bus.simulator.binance.rest import trades_reply
from bus.simulator.binance.session import Session
from bus.simulator.clients import Client
from bus.simulator.faults import Faults
from bus.simulator.http_reply import HttpReply, reply
from bus.simulator.speed import parse_speed as parse_speed

_log = get_logger("simulator.playback")

DEPTH_TIMEOUT_S = 10.0
YIELD_EVERY = 128
"""Lines after which other tasks get their turn, whether or not a line was sent."""


@dataclass(slots=True, eq=False)
class Player:
    """One client's run through the recording. ``position`` lines lie behind it.

    ``complete``: the client has read everything up to the last line. ``asked``: a depth request was
    made; ``answered``: one has got the recorded reply in this run.
    """

    client: Client
    session: Session
    position: int = 0
    sent: int = 0
    complete: bool = False
    answered: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Playback:
    """All players of one server. ``end`` is idle, close or loop; ``snapshot`` pass or hold."""

    def __init__(
        self,
        recording: Recording,
        *,
        speed: float | None,
        end: str,
        snapshot: str,
        faults: Faults | None = None,
        clock: Callable[[], int],
        depth_timeout_s: float = DEPTH_TIMEOUT_S,
    ) -> None:
        self.recording = recording
        self.faults = faults or Faults()
        self._speed = speed
        self._end = end
        self._hold = snapshot == "hold"
        self._clock = clock
        self._depth_timeout_s = depth_timeout_s
        self._players: dict[Client, Player] = {}
        self._moved = asyncio.Condition()
        self._is_closing = False
        self._sent_by_gone = 0
        self._complete_runs = 0

    # Clients

    def join(self, client: Client, session: Session) -> None:
        """Start the client's player, unless it plays already or has no recorded stream yet."""
        if client in self._players or not session.streams.keys() & self.recording.streams.keys():
            return
        player = Player(client, session)
        self._players[client] = player
        player.task = asyncio.get_running_loop().create_task(self._run(player))

    async def leave(self, client: Client) -> None:
        """Stop the player of a client that has gone."""
        player = self._players.pop(client, None)
        if player is not None and player.task is not None:
            self._sent_by_gone += player.sent
            player.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await player.task

    async def close(self) -> None:
        """Stop all players; requests that wait for one are answered as timed out."""
        self._is_closing = True
        await self._announce()
        for client in list(self._players):
            await self.leave(client)

    # Reports

    def figures(self) -> dict[str, int]:
        """Counters for the heartbeat. ``playback_complete``: runs read to the end by a client."""
        return {
            "playback_total_lines": self.recording.total,
            "playback_players": len(self._players),
            "playback_sent": self._sent_by_gone + sum(p.sent for p in self._players.values()),
            "playback_complete": self._complete_runs,
        }

    def state(self) -> dict[str, object]:
        """Progress of every player, for the control endpoint."""
        return {
            "total_lines": self.recording.total,
            "streams": dict(self.recording.streams),
            "complete_runs": self._complete_runs,
            "players": [
                {
                    "client": player.client.number,
                    "position": player.position,
                    "sent": player.sent,
                    "complete": player.complete,
                }
                for player in self._players.values()
            ],
        }

    # REST depth

    async def depth(self, limit: int) -> HttpReply:
        """The depth reply a client gets now, or when the newest player is far enough."""
        try:
            async with asyncio.timeout(self._depth_timeout_s):
                return await self._depth(limit)
        except TimeoutError:
            return reply(
                {
                    "code": -1007,
                    "msg": "Timeout waiting for response from backend server. "
                    "Send status unknown; execution status unknown.",
                },
                504,
            )

    async def _depth(self, limit: int) -> HttpReply:
        snapshots = self.recording.snapshots
        if not snapshots:
            return reply({"code": -1000, "msg": "The recording holds no depth reply."}, 400)
        async with self._moved:
            while True:
                player = next(reversed(self._players.values()), None)
                if player is not None:
                    player.asked.set()
                    if player.position > snapshots[0].position:
                        break
                if self._is_closing:
                    raise TimeoutError
                await self._moved.wait()
            position = player.position
            first = not player.answered
            player.answered = True
        if first:
            passed = [snapshot for snapshot in snapshots if snapshot.position < position]
            return HttpReply(200, passed[-1].cut(limit))
        book = await asyncio.to_thread(self.recording.book_at, position)
        assert book is not None, "a passed reply gives a book"
        return HttpReply(200, cut(book, limit))

    # REST trades

    async def trades(self, symbol: str, limit: int, stamp: VenueTime) -> HttpReply:
        """The last trades before the newest player's place; none while nobody plays."""
        player = next(reversed(self._players.values()), None)
        position = player.position if player is not None else 0
        try:
            told = await asyncio.to_thread(self.recording.trades_at, symbol, position, limit)
        except ConfigError as error:
            _log.error("recording unreadable", error=error, position=position)
            return reply({"code": -1000, "msg": "The recording cannot be read."}, 500)
        return trades_reply(told, stamp)

    async def _announce(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    # Playing

    async def _run(self, player: Player) -> None:
        await self._announce()
        try:
            while True:
                await self._play(player)
                await player.client.wait_until_read()
                player.complete = True
                self._complete_runs += 1
                if self._end != "loop":
                    break
                player.position, player.answered, player.complete = 0, False, False
                player.asked.clear()
            if self._end == "close":
                await player.client.close(1000)
        except ConnectionClosed:
            pass  # the client left in the middle; leave() tidies up
        except ConfigError as error:
            # The files were good when the process began: somebody has changed them since.
            _log.error("recording unreadable", error=error, position=player.position)
            await player.client.close(1011, "recording unreadable")

    async def _play(self, player: Player) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        first_ns, speed = self.recording.first_ns, self._speed
        for line in self.recording.lines():
            if speed is not None:
                wait_s = start_s + (line.recv_ns - first_ns) / 1e9 / speed - loop.time()
                if wait_s > 0.001:
                    await asyncio.sleep(wait_s)
            if line.position % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if line.stream is None:
                if self._hold:
                    held_s = loop.time()
                    await player.asked.wait()
                    start_s += loop.time() - held_s
                player.position = line.position + 1
                await self._announce()
                continue
            if line.stream in player.session.streams:
                await self._send(player, line, line.stream)
            player.position = line.position + 1

    async def _send(self, player: Player, line: Line, stream: str) -> None:
        if self.faults.is_silent(stream, self._clock()):
            return
        symbol, _, kind = stream.partition("@")
        if kind == "trade" and self.faults.takes("drop_trade", symbol.upper()):
            return
        message = line.raw if player.session.combined else line.payload
        messages = self.faults.pass_diff(stream, message) if "@depth" in stream else [message]
        for item in messages:
            await player.client.send(item)
            player.sent += 1
