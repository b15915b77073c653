"""Posts ticks to nchan's publisher location, one HTTP request each; run by ``bench.fanout``.

Arguments: the Unix socket to take ticks on, then the port of nginx. Its CPU is not counted.
"""

from __future__ import annotations

import asyncio
import http.client
import queue
import sys
import threading

from bench.peers.fanout_input import listen


def post(ticks: queue.SimpleQueue[bytes], port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while True:
        connection.request("POST", "/publish", ticks.get())
        response = connection.getresponse()
        response.read()
        if response.status not in (201, 202):
            sys.exit(f"nchan answered {response.status}")


async def main() -> None:
    ticks: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def on_ticks(batch: list[bytes]) -> None:
        for tick in batch:
            ticks.put(tick)

    inlet = await listen(sys.argv[1], on_ticks)
    threading.Thread(target=post, args=(ticks, int(sys.argv[2])), daemon=True).start()
    print("listening", flush=True)
    await inlet.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
