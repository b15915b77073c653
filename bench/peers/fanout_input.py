"""What the fan-out rivals share: ticks come in on a Unix socket, four bytes of length before each.

Runs in the rivals' environment, which holds nothing of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

OnTicks = Callable[[list[bytes]], None]


class Ticks(asyncio.Protocol):
    """Hands on the whole ticks of each read, together."""

    def __init__(self, on_ticks: OnTicks) -> None:
        self._on_ticks = on_ticks
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        start, size = 0, len(data)
        ticks = []
        while size - start >= 4:
            end = start + 4 + int.from_bytes(data[start : start + 4], "big")
            if end > size:
                break
            ticks.append(data[start + 4 : end])
            start = end
        self._rest = data[start:]
        if ticks:
            self._on_ticks(ticks)


async def listen(path: str, on_ticks: OnTicks) -> asyncio.Server:
    """Take ticks at ``path`` for as long as the server that this returns is kept."""
    return await asyncio.get_running_loop().create_unix_server(lambda: Ticks(on_ticks), path)
