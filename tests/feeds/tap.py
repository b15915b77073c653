"""A publisher that keeps what it was given, and a feed made of it: for tests without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from bus.client import Publisher
from bus.config import FeedSettings
from bus.feeds.capture import Capture
from bus.feeds.feed import Feed
from bus.feeds.status import StatusBoard
from bus.model import Status
from bus.model.tick import Body
from bus.model.topic import Topic


@dataclass
class Published:
    """One message as it was handed to a writer."""

    topic: str
    body: Body
    venue_ts_ns: int | None
    recv_ts_ns: int


class TapWriter:
    """Stands where a TopicWriter would."""

    def __init__(self, tap: Tap, topic: Topic) -> None:
        self._tap = tap
        self._name = topic.name
        self.seq = 0

    def publish(self, body: Body, *, venue_ts_ns: int | None, recv_ts_ns: int) -> int:
        self.seq += 1
        self._tap.messages.append(Published(self._name, body, venue_ts_ns, recv_ts_ns))
        return self.seq


@dataclass
class Tap:
    """Stands where a Publisher would."""

    messages: list[Published] = field(default_factory=list)
    writers: dict[Topic, TapWriter] = field(default_factory=dict)

    def writer(self, topic: Topic) -> TapWriter:
        return self.writers.setdefault(topic, TapWriter(self, topic))

    def bodies(self, topic: str) -> list[Any]:
        """The bodies published on a topic, oldest first."""
        return [message.body for message in self.messages if message.topic == topic]

    def as_publisher(self) -> Publisher:
        return cast(Publisher, self)


@dataclass
class Statuses:
    """What a status board said."""

    said: list[tuple[str, Status]] = field(default_factory=list)

    def __call__(self, symbol: str, status: Status) -> None:
        self.said.append((symbol, status))

    def states(self, symbol: str = "") -> list[str]:
        """The states of one symbol in order, repeats left out."""
        states: list[str] = []
        for name, status in self.said:
            if name == symbol and (not states or states[-1] != status.state):
                states.append(status.state)
        return states

    def state(self, symbol: str = "") -> str:
        """The last state of one symbol, "" before the first."""
        return self.states(symbol)[-1] if self.states(symbol) else ""

    def last(self, symbol: str = "") -> Status:
        return next(status for name, status in reversed(self.said) if name == symbol)


def make_feed(
    tap: Tap,
    statuses: Statuses,
    settings: FeedSettings,
    *,
    name: str = "binance",
    ws_base: str = "",
    rest_base: str = "",
    simulated: bool = True,
    give_up: Callable[[str], None] | None = None,
    capture: Capture | None = None,
) -> Feed:
    return Feed(
        name=name,
        venue_label="sim",
        settings=settings,
        publisher=tap.as_publisher(),
        board=StatusBoard(statuses),
        stopping=asyncio.Event(),
        started=lambda: None,
        ws_base=ws_base,
        rest_base=rest_base,
        simulated=simulated,
        give_up=give_up,
        capture=capture,
    )
