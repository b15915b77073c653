"""Trades that a feed says it has lost, as ``gap`` messages for who follows them.

Pure. No message of the bus is missing then: the venue's trades never became any. Such a gap is an
empty range at the present place of the topic, and its ``count`` is of trades.
"""

from __future__ import annotations

from typing import Any

from bus.wsbridge.channels import Channel
from bus.wsbridge.market import Market
from bus.wsbridge.messages import Gap, epoch_text, rfc3339


def feed_gaps(
    market: Market, by_key: dict[bytes, list[Channel[Any]]], now_ns: int
) -> list[tuple[Channel[Any], Gap]]:
    """The gaps of the losses stated since the last call, with the channels they belong to."""
    if not market.stated_losses:
        return []
    losses, market.stated_losses = market.stated_losses, {}
    return [
        (channel, _gap(market, channel, count, now_ns))
        for channels in by_key.values()
        for channel in channels
        if channel.topic.stream == "trades"
        and channel.wire.events
        and (count := losses.get((channel.topic.feed, channel.topic.feed_symbol), 0))
    ]


def _gap(market: Market, channel: Channel[Any], count: int, now_ns: int) -> Gap:
    line = market.open(channel.topic)
    return Gap(
        topic=channel.topic.name,
        epoch=epoch_text(line.epoch),
        from_seq=line.seq + 1,
        to_seq=line.seq,
        count=count,
        reason="feed",
        timestamp=rfc3339(now_ns),
    )
