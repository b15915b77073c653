"""``python -m tests.conformance.publisher ENDPOINT RATE``: trades and prices until stdin ends."""

from __future__ import annotations

import select
import sys
import time

from bus.client import Publisher
from bus.clock import now_ns
from bus.model import Price, Trade
from bus.model.topic import Topic

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
_PAUSE_S = 0.002


def main() -> None:
    """Publish ``RATE`` messages a second, in small bursts, each once on every topic in turn."""
    endpoint, rate = sys.argv[1], float(sys.argv[2])
    publisher = Publisher(endpoint)
    writers = [publisher.writer(Topic.md("trades", "sim", symbol)) for symbol in SYMBOLS]
    writers += [publisher.writer(Topic.md("price", "sim", symbol)) for symbol in SYMBOLS]
    while not publisher.stats().attached:  # else its first messages are lost to everybody
        if select.select([sys.stdin], [], [], _PAUSE_S)[0]:
            break
        publisher.service()
    began = time.monotonic()
    sent = 0
    while not select.select([sys.stdin], [], [], _PAUSE_S)[0]:
        publisher.service()
        due = min(int((time.monotonic() - began) * rate), sent + 500)
        for number in range(sent, due):
            writer = writers[number % len(writers)]
            is_trade = writer.topic.stream == "trades"
            body = Trade(1.0, float(number)) if is_trade else Price(float(number))
            writer.publish(body, venue_ts_ns=None, recv_ts_ns=now_ns())
        sent = due
    publisher.close()


if __name__ == "__main__":
    main()
