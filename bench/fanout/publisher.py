"""Publishes ticks on time, on command: ``python -m bench.fanout.publisher``.

``bus CONFIG TOPICS [STREAM]``: prices, or trades, to the broker, as a feed does. ``stream PATH
TOPICS``: to a server that knows no bus, as the finished text that the bridge makes of the same
tick (four bytes of length before each), on a Unix socket; what arrives together was written
together. Such a server decodes and encodes nothing.

One line of JSON on standard input is one run: ``ticks_per_s``, ``burst`` (ticks due at the same
moment), ``topics`` (round robin), ``seconds``. The answer is one line: the ticks sent, the most
that a burst was late, and what the bus refused.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable

from bench.rig import NS, symbols_of
from bus.client import Publisher
from bus.config import load
from bus.model import Price, Trade
from bus.model.topic import Topic

_LEAST_SLEEP_S = 0.0004
_STAMP = "2026-01-28T10:30:00.998000Z"

Burst = Callable[[int, int, int, int], None]
"""Publish (first number, how many, over how many topics, due ns)."""


def to_bus(config: str, topics: int, stream: str) -> tuple[Burst, Callable[[], int]]:
    """A burst to the broker, and how many messages were dropped so far."""
    publisher = Publisher(load(config).endpoints.publish)
    deadline = time.monotonic() + 10
    while not publisher.stats().attached:
        publisher.service()
        if time.monotonic() > deadline:
            sys.exit("the broker did not attach")
        time.sleep(0.01)
    writers = [publisher.writer(Topic.md(stream, "sim", name)) for name in symbols_of(topics)]

    def burst(first: int, count: int, over: int, due_ns: int) -> None:
        for number in range(first, first + count):
            price = 50_000.0 + number % 100
            body: Price | Trade = Price(price, 250.3, 0.5, 1_000_000.0)
            if stream == "trades":
                body = Trade(price, 0.25, "buy", str(number))
            writers[number % over].publish(body, venue_ts_ns=due_ns, recv_ts_ns=due_ns)

    return burst, lambda: publisher.stats().dropped


def to_stream(path: str, topics: int) -> tuple[Burst, Callable[[], int]]:
    """A burst to a server of another kind, in one write; nothing is ever dropped."""
    target = socket.socket(socket.AF_UNIX)
    target.connect(path)
    names = symbols_of(topics)

    def burst(first: int, count: int, over: int, due_ns: int) -> None:
        parts = []
        for number in range(first, first + count):
            text = text_of(names[number % over], number, due_ns).encode()
            parts += [len(text).to_bytes(4, "big"), text]
        target.sendall(b"".join(parts))

    return burst, lambda: 0


def text_of(symbol: str, number: int, due_ns: int) -> str:
    """A tick as the bridge's clients read it."""
    us = due_ns // 1000
    price = 50_000.0 + number % 100
    return (
        f'{{"type":"price","data":{{"symbol":"{symbol}","price":{price},"change":250.3,'
        f'"change_percent":0.5,"volume":1000000.0,"source":"sim","timestamp":"{_STAMP}",'
        f'"event_us":{us},"recv_us":{us}}},"timestamp":"{_STAMP}","topic":"price.{symbol}",'
        f'"symbol":"{symbol}","source":"sim","seq":{number + 1}}}'
    )


def run(burst: Burst, order: dict[str, float]) -> tuple[int, float]:
    """One paced run: the ticks sent, and the most ms that a burst was late."""
    rate, size, over = order["ticks_per_s"], int(order["burst"]), int(order["topics"])
    bursts = max(1, round(order["seconds"] * rate / size))
    every_ns = round(size * NS / rate)
    begin_ns = time.time_ns() + NS // 100
    late_ns = 0
    for number in range(bursts):
        due_ns = begin_ns + number * every_ns
        early_ns = due_ns - time.time_ns()
        if early_ns > 0:
            time.sleep(max(early_ns / NS, _LEAST_SLEEP_S))
            early_ns = due_ns - time.time_ns()
        late_ns = max(late_ns, -early_ns)
        burst(number * size, size, over, due_ns)
    return bursts * size, late_ns / 1e6


def main() -> None:
    kind, where, topics = sys.argv[1:4]
    if kind == "bus":
        burst, dropped = to_bus(where, int(topics), (*sys.argv[4:], "price")[0])
    else:
        burst, dropped = to_stream(where, int(topics))
    print("ready", flush=True)
    with contextlib.suppress(BrokenPipeError):
        for line in sys.stdin:
            sent, late_ms = run(burst, json.loads(line))
            print(json.dumps({"sent": sent, "late_ms": late_ms, "dropped": dropped()}), flush=True)


if __name__ == "__main__":
    main()
