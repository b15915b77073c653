"""Trades that a feed says it has lost, as ``gap`` messages for who follows them.

Pure. No message of the bus is missing then: the venue's trades never became any. Such a gap is an
empty range at the place of the topic's stream where the feed said so, and its ``count`` is of
trades. (A feed knows a loss for certain only when it has asked the venue for the trades in vain;
newer ones have been published by then, and are not held up for it.)
"""

from __future__ import annotations

from typing import Any

from bus.wsbridge.channels import Channel
from bus.wsbridge.market import Market
from bus.wsbridge.messages import Gap, epoch_text, rfc3339


def feed_gaps(
    market: Market,
    by_key: dict[bytes, list[Channel[Any]]],
    where: tuple[str, str],
    count: int,
    now_ns: int,
) -> list[tuple[Channel[Any], Gap]]:
    """The gap of ``count`` trades of a feed's symbol, for each channel it belongs to."""
    return [
        (channel, _gap(market, channel, count, now_ns))
        for channels in by_key.values()
        for channel in channels
        if channel.topic.stream == "trades"
        and channel.wire.events
        and (channel.topic.feed, channel.topic.feed_symbol) == where
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
