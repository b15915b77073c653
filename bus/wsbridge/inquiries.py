"""Answers that change nothing: the greeting, ``list``, ``status`` and ``snapshot``.

Pure. Each function makes the messages for what :class:`~bus.wsbridge.session.Session` was asked;
whom they go to, and in which order, is the session's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bus.wsbridge.grants import snapshots
from bus.wsbridge.market import Market
from bus.wsbridge.messages import (
    Connection,
    FeedStatus,
    Limits,
    List,
    Listed,
    RequestId,
    SnapshotEnd,
    TopicEntry,
    error,
    rfc3339,
)
from bus.wsbridge.steps import Attach, Join, Send
from bus.wsbridge.topics import STREAMS, Directory, MarketTopic

FEED_DOWN_RETRY_MS = 5_000

CAPABILITIES = ["recovery", "history", "snapshot", "status"]
"""What works here beyond the legacy API."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What ``connection`` says of the server."""

    connection_id: str
    server: str
    simulated: bool


def connected(
    greeting: Greeting,
    fixed: MarketTopic | None,
    directory: Directory,
    market: Market,
    limits: Limits,
    now_ns: int,
) -> Connection:
    """The first message of a connection; ``fixed`` is the topic its URL names, if it does."""
    feeds: dict[str, str] = {}
    for name in directory.feeds:
        view = market.feed(name)
        feeds[name] = "connecting" if view is None else view.state
    is_news = fixed is not None and fixed.stream == "news"
    return Connection(
        status="connected",
        symbol=UNSET if fixed is None or is_news else fixed.symbol,
        stream_type=UNSET if fixed is None or is_news else fixed.stream,
        category=fixed.symbol if fixed is not None and is_news else UNSET,
        topic=UNSET if fixed is None else fixed.name,
        protocol=1,
        profile="compat",
        codec="json",
        connection_id=greeting.connection_id,
        server=greeting.server,
        simulated=greeting.simulated,
        capabilities=CAPABILITIES,
        limits=limits,
        feeds=feeds,
        streams=list(STREAMS),
        symbols=UNSET if fixed is not None else list(directory.symbols),
        categories=UNSET if fixed is not None else list(directory.categories),
        timestamp=rfc3339(now_ns),
    )


def listing(
    request_id: RequestId | UnsetType,
    held: Sequence[Join],
    market: Market,
    limits: Limits,
    now_ns: int,
) -> List:
    """The reply to ``list``: every topic held, as it stands."""
    listed: list[Listed] = []
    for one in held:
        view = market.view(one.topic, now_ns)
        is_news = one.topic.stream == "news"
        listed.append(
            Listed(
                topic=one.topic.name,
                symbol=UNSET if is_news else one.topic.symbol,
                category=one.topic.symbol if is_news else UNSET,
                stream_type=one.topic.stream,
                depth=one.depth or UNSET,
                epoch=UNSET if view.epoch is None else view.epoch,
                seq=view.seq,
                state=view.state,
                age_ms=UNSET if view.age_ms is None else view.age_ms,
            )
        )
    return List(
        id=request_id,
        subscribed=symbols_of(one.topic for one in held),
        count=len(held),
        limit=limits.subscriptions,
        subscriptions=listed,
        timestamp=rfc3339(now_ns),
    )


def removed_entry(topic: MarketTopic, market: Market, now_ns: int) -> TopicEntry:
    """The entry of a topic in an ``unsubscribed`` acknowledgement: where it stood at the end."""
    view = market.view(topic, now_ns)
    return TopicEntry(
        topic=topic.name,
        requested=topic.name,
        state=view.state,
        age_ms=UNSET if view.age_ms is None else view.age_ms,
        epoch=UNSET if view.epoch is None else view.epoch,
        seq=view.seq,
        snapshot=False,
    )


def feed_status(
    request_id: RequestId | UnsetType,
    name: str,
    directory: Directory,
    market: Market,
    now_ns: int,
) -> FeedStatus:
    """The state of one configured feed; ``connecting`` while it has not been heard of."""
    topics = directory.topic_count_of[name]
    view = market.feed(name)
    if view is None:
        return FeedStatus(
            id=request_id,
            feed=name,
            state="connecting",
            reason="not_heard_yet",
            topics=topics,
            timestamp=rfc3339(now_ns),
        )
    return FeedStatus(
        id=request_id,
        feed=name,
        state=view.state,
        since=rfc3339(view.since_ts_ns),
        age_ms=max(0, now_ns - view.since_ts_ns) // 1_000_000,
        reason=view.reason,
        topics=topics,
        detail=UNSET if view.detail is None else view.detail,
        timestamp=rfc3339(now_ns),
    )


def snapshot_reply(attach: Attach, market: Market, limits: Limits, now_ns: int) -> list[Send]:
    """The last values of the topics of a ``snapshot`` request, and its ``snapshot_end``.

    A state topic gives its last value, a lossless one its ``history`` (1 unless asked otherwise),
    all of them together at most ``max_history`` past messages. A topic without a value is named
    in ``empty``; if its feed is down, an ``error`` ``feed_down`` says so.
    """
    sends: list[Send] = []
    empty: list[str] = []
    sent = 0
    budget = limits.max_history
    for wanted in attach.wanted:
        topic = wanted.topic
        view = market.view(topic, now_ns)
        count = 1 if topic.is_state else min(wanted.history, budget)
        messages = snapshots(wanted, market, view, count, now_ns)
        if not topic.is_state:
            budget -= len(messages)
        sent += len(messages)
        sends += [Send(message) for message in messages]
        if messages:
            continue
        empty.append(topic.name)
        if view.state == "down":
            refusal = error(
                "feed_down",
                f"the feed of {topic.name} is down and it has no last value",
                now_ns=now_ns,
                id=attach.id,
                topic=topic.name,
                retry_after_ms=FEED_DOWN_RETRY_MS,
            )
            sends.append(Send(refusal))
    end = SnapshotEnd(
        id=attach.id,
        topics=len(attach.wanted),
        sent=sent,
        empty=empty,
        timestamp=rfc3339(now_ns),
    )
    return [*sends, Send(end)]


def symbols_of(topics: Iterable[MarketTopic]) -> list[str]:
    """The display symbols (of news: categories) of topics, each once, in order."""
    return list(dict.fromkeys(topic.symbol for topic in topics))
