"""``websockets.broadcast`` as its documentation shows it, on uvloop; run by ``bench.fanout``.

Arguments: where to take ticks from (:mod:`bench.peers.fanout_bus`), then ``deflate`` or ``plain``.
Says ``port N``.
"""

from __future__ import annotations

import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from bench.peers.fanout_bus import listening


async def main() -> None:
    connections: set[ServerConnection] = set()

    async def handler(connection: ServerConnection) -> None:
        connections.add(connection)
        try:
            await connection.wait_closed()
        finally:
            connections.discard(connection)

    def on_ticks(ticks: list[bytes]) -> None:
        for tick in ticks:
            broadcast(connections, tick.decode())

    compression = "deflate" if sys.argv[2] == "deflate" else None
    async with (
        serve(handler, "127.0.0.1", 0, compression=compression, backlog=4096) as server,
        listening(sys.argv[1], on_ticks),
    ):
        print("port", next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
