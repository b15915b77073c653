"""picows, one ``send`` per client and message, on uvloop; run by ``bench.fanout``.

Arguments: where to take ticks from (:mod:`bench.peers.fanout_bus`), then ``plain`` (it knows no
compression). Says ``port N``.
"""

from __future__ import annotations

import sys

import uvloop
from picows import (  # type: ignore[import-not-found]
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)

from bench.peers.fanout_bus import listening

clients: set[WSTransport] = set()


class Client(WSListener):  # type: ignore[misc]
    def on_ws_connected(self, transport: WSTransport) -> None:
        clients.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        clients.discard(transport)


def listener(request: WSUpgradeRequest) -> Client:
    return Client()


def on_ticks(ticks: list[bytes]) -> None:
    for tick in ticks:
        for client in clients:
            client.send(WSMsgType.TEXT, tick)


async def main() -> None:
    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=4096)
    async with listening(sys.argv[1], on_ticks):
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
