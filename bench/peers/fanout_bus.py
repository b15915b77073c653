"""Ticks from the bus's broker, for fan-out rivals that are to do the bridge's whole work.

Runs in the rivals' environment, which holds nothing of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import msgspec
import zmq

from bench.peers.fanout_input import OnTicks, listen

MOST_AT_ONCE = 256
_POLLIN = int(zmq.POLLIN)


@contextlib.asynccontextmanager
async def listening(where: str, on_ticks: OnTicks) -> AsyncIterator[None]:
    """Take ticks meanwhile: from the broker at ``ipc:…``, or else finished texts from a socket."""
    if not where.startswith("ipc:"):
        async with await listen(where, on_ticks):
            yield
        return
    loop = asyncio.get_running_loop()
    with _subscribed(where) as bus:
        loop.add_reader(bus.fileno(), _read, bus, on_ticks)
        _read(bus, on_ticks)
        yield
        loop.remove_reader(bus.fileno())


@contextlib.contextmanager
def _subscribed(endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.SUB) as bus:
        bus.rcvhwm = 0
        bus.subscribe(b"md/price/")
        bus.connect(endpoint)
        yield bus


def _read(bus: zmq.Socket[bytes], on_ticks: OnTicks) -> None:
    ticks: list[bytes] = []
    with contextlib.suppress(zmq.Again):
        while len(ticks) < MOST_AT_ONCE:
            ticks.append(text_of(bus.recv(zmq.DONTWAIT)))
    if ticks:
        on_ticks(ticks)
    if int(bus.getsockopt(zmq.EVENTS)) & _POLLIN:
        asyncio.get_running_loop().call_soon(_read, bus, on_ticks)


def text_of(frame: bytes) -> bytes:
    """A price as the bridge's clients read it, by the quickest library there is for it."""
    topic, _, payload = frame.partition(b"\0")
    fields = msgspec.msgpack.decode(payload)
    _, _, seq, venue_ns, received_ns, published_ns, price, change, percent, volume = fields[:10]
    symbol = topic.decode().split("/")[3]
    at_ns = received_ns if venue_ns is None else venue_ns
    event = datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat()
    sent = datetime.fromtimestamp(published_ns / 1e9, UTC).isoformat()
    return msgspec.json.encode(
        {
            "type": "price",
            "data": {
                "symbol": symbol,
                "price": price,
                "change": change,
                "change_percent": percent,
                "volume": volume,
                "source": "sim",
                "timestamp": event,
                "event_us": at_ns // 1000,
                "recv_us": received_ns // 1000,
            },
            "timestamp": sent,
            "topic": f"price.{symbol}",
            "symbol": symbol,
            "source": "sim",
            "seq": seq,
        }
    )
