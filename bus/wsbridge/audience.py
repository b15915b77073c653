"""Who is told what a batch of the bus means beyond its messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from bus.wsbridge.channels import Channel
from bus.wsbridge.client import BridgeClient
from bus.wsbridge.market import Market
from bus.wsbridge.waits import Waits


class Audience:
    """Of one bridge: the clients on channels (``by_key``) and those that wait for something."""

    def __init__(
        self,
        market: Market,
        by_key: Mapping[bytes, list[Channel[BridgeClient]]],
        waits: Waits[BridgeClient],
    ) -> None:
        self._market = market
        self._by_key = by_key
        self._waits = waits

    def followers(self, feed: str) -> dict[BridgeClient, None]:
        """Who has a topic of a feed, or is owed one, and wants to be told of the feed."""
        found: dict[BridgeClient, None] = {}
        for channels in self._by_key.values():
            for channel in channels:
                if channel.topic.feed == feed and channel.wire.events:
                    found |= channel.clients
        for line in self._market.lines.values():
            if line.feed == feed and not line.warm:
                owed = (client for client, _ in self._waits.due(line.key))
                found |= {client: None for client in owed if client.wire.events}
        return found

    def concerned(self, warmed: Iterable[bytes], feeds: Iterable[str]) -> Iterator[BridgeClient]:
        """Who is answered because topics have turned warm, or told of feeds that have changed."""
        for key in warmed:
            yield from self._waits.expecting(key)
        for feed in feeds:
            yield from self.followers(feed)
