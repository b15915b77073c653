"""A TCP relay in front of a venue: what the network, and boxes in it, do to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(eq=False)
class Passage:
    """One connection through the relay; ``open`` cleared: both ends stay, nothing passes."""

    websocket: bool
    flows: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Relay:
    """Passes bytes on to ``target``. ``refusal``: an HTTP answer to WebSocket handshakes."""

    target: int
    port: int = 0
    refusal: bytes = b""
    handshakes: int = 0
    passages: list[Passage] = field(default_factory=list)

    def freeze(self) -> None:
        """Half-open: from now on no byte passes on the WebSockets there are; new ones work."""
        for passage in self.passages:
            if passage.websocket:
                passage.flows.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        websocket = b"upgrade: websocket" in head.lower()
        self.handshakes += websocket
        if websocket and self.refusal:
            writer.write(self.refusal)
            await writer.drain()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        far_writer.write(head)
        passage = Passage(websocket)
        passage.flows.set()
        self.passages.append(passage)
        try:
            await asyncio.gather(
                _pump(reader, far_writer, passage), _pump(far_reader, writer, passage)
            )
        finally:
            self.passages.remove(passage)
            writer.close()
            far_writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passage: Passage
) -> None:
    while data := await reader.read(65_536):
        await passage.flows.wait()
        writer.write(data)
        await writer.drain()
    await passage.flows.wait()
    writer.close()


@asynccontextmanager
async def relay_to(target: int) -> AsyncIterator[Relay]:
    """A relay on a free port."""
    relay = Relay(target)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(relay.serve(reader, writer))
        tasks.add(task)
        await asyncio.wait([task])
        tasks.discard(task)
        if not task.cancelled() and isinstance(task.exception(), OSError | EOFError):
            writer.close()  # one end left in the middle: so does the other

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
