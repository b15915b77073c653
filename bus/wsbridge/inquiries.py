"""Answers that change nothing: the greeting, ``list``, ``status`` and ``snapshot``.

Pure. Each function makes the messages for what :class:`~bus.wsbridge.session.Session` was asked;
whom they go to, and in which order, is the session's business.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bus.config.venues import CLIENT_STREAMS
from bus.wsbridge.grants import Grant, snapshots
from bus.wsbridge.holdings import Pattern, symbols_of
from bus.wsbridge.market import Market
from bus.wsbridge.messages import (
    Connection,
    FeedStatus,
    Limits,
    List,
    Listed,
    Ping,
    Pong,
    Position,
    RequestId,
    SnapshotEnd,
    TopicEntry,
    TopicState,
    error,
    rfc3339,
)
from bus.wsbridge.profile import Profile
from bus.wsbridge.routes import Options
from bus.wsbridge.steps import Attach, Give, Join, Send, Step
from bus.wsbridge.style import granted_class_ms
from bus.wsbridge.topics import Directory, MarketTopic

FEED_DOWN_RETRY_MS = 5_000

CAPABILITIES = [
    "recovery",
    "history",
    "snapshot",
    "status",
    "conflation",
    "book_delta",
    "wildcard",
    "batch",
    "heartbeat",
    "msgpack",
    "numbers",
]
"""What works here beyond the legacy API."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """What ``connection`` says of the server."""

    connection_id: str
    server: str
    simulated: bool


def id_prefix(name: str) -> str:
    """A short prefix of connection ids, different for each worker: ``bridge.1`` gives ``b1``."""
    kind, _, number = name.partition(".")
    return f"{kind[:1] or 'b'}{number}"


def updated(profile: Profile, request_id: RequestId | UnsetType, now_ns: int) -> Connection:
    """The reply to ``set``: the values now in force."""
    return Connection(
        status="updated",
        id=request_id,
        profile=profile.name,
        codec=profile.codec,
        batch_ms=profile.batch_ms,
        heartbeat_ms=profile.heartbeat_ms,
        events="all" if profile.events else "none",
        timestamp=rfc3339(now_ns),
    )


def connected(
    greeting: Greeting,
    fixed: MarketTopic | None,
    directory: Directory,
    market: Market,
    limits: Limits,
    profile: Profile,
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
        profile=profile.name,
        codec=profile.codec,
        heartbeat_ms=profile.heartbeat_ms or UNSET,
        batch_ms=profile.batch_ms or UNSET,
        connection_id=greeting.connection_id,
        server=greeting.server,
        simulated=greeting.simulated,
        capabilities=CAPABILITIES,
        limits=limits,
        feeds=feeds,
        streams=list(CLIENT_STREAMS),
        symbols=UNSET if fixed is not None else list(directory.symbols),
        categories=UNSET if fixed is not None else list(directory.categories),
        timestamp=rfc3339(now_ns),
    )


def listing(
    request_id: RequestId | UnsetType,
    held: Sequence[Join],
    count: int,
    market: Market,
    limits: Limits,
    now_ns: int,
) -> List:
    """The reply to ``list``: every topic that comes, as it stands; ``count`` is what it costs."""
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
                conflate_ms=one.terms.style.conflate_ms,
                depth=one.terms.style.depth or UNSET,
                epoch=UNSET if view.epoch is None else view.epoch,
                seq=view.seq,
                state=view.state,
                age_ms=UNSET if view.age_ms is None else view.age_ms,
            )
        )
    return List(
        id=request_id,
        subscribed=symbols_of(one.topic for one in held),
        count=count,
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


def removed_pattern(pattern: Pattern) -> TopicEntry:
    """The entry of a wildcard in an ``unsubscribed`` acknowledgement."""
    return TopicEntry(
        topic=pattern.text,
        requested=pattern.text,
        state="live",
        seq=0,
        snapshot=False,
        matched=len(pattern.topics),
    )


def pattern_entry(
    pattern: Pattern,
    options: Options,
    limits: Limits,
    grants: Sequence[Grant],
    told: Collection[str],
) -> TopicEntry:
    """The entry of a wildcard in a ``subscribed`` acknowledgement.

    ``matched`` counts its topics. Those in ``told`` have an entry of their own (named in the
    request or in ``since``); where the others begin is in ``positions``. One without a value names
    its epoch in its first message.
    """
    states = {granted.view.state for granted in grants}
    state: TopicState = next((one for one in _BEST_FIRST if one in states), "pending")
    asked_ms = pattern.request.conflate_ms
    granted_ms = granted_class_ms(
        options.conflate_ms if asked_ms is UNSET else asked_ms, limits.min_conflate_ms
    )
    return TopicEntry(
        topic=pattern.text,
        requested=pattern.text,
        state=state,
        seq=0,
        snapshot=any(granted.given.kepts for granted in grants),
        conflate_ms=granted_ms,
        matched=len(grants),
        positions={
            granted.entry.topic: Position(granted.entry.epoch, granted.entry.seq)
            for granted in grants
            if granted.entry.epoch is not UNSET and granted.entry.topic not in told
        },
    )


_BEST_FIRST: tuple[TopicState, ...] = ("live", "stale", "closed", "down", "pending")


def pong(request: Ping, now_ns: int) -> Pong:
    """The reply to ``ping``."""
    return Pong(id=request.id, ts=request.ts, server_us=now_ns // 1000, timestamp=rfc3339(now_ns))


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


def snapshot_reply(attach: Attach, market: Market, limits: Limits, now_ns: int) -> list[Step]:
    """The last values of the topics of a ``snapshot`` request, and its ``snapshot_end``.

    A state topic gives its last value, a lossless one its ``history`` (1 unless asked otherwise),
    all of them together at most ``max_history`` past messages. A topic without a value is named
    in ``empty``; if its feed is down, an ``error`` ``feed_down`` says so.
    """
    steps: list[Step] = []
    empty: list[str] = []
    sent = 0
    budget = limits.max_history
    for wanted in attach.wanted:
        topic = wanted.topic
        view = market.view(topic, now_ns)
        has_value = not topic.is_lossless
        count = 1 if has_value else min(wanted.history, budget)
        given = snapshots(wanted, market, view, count, now_ns)
        if not has_value:
            budget -= len(given.kepts)
        sent += len(given.kepts)
        if given.kepts:
            steps.append(Give(given))
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
            steps.append(Send(refusal))
    return [*steps, Send(snapshot_end(attach.id, len(attach.wanted), sent, empty, now_ns))]


def snapshot_end(
    request_id: RequestId | UnsetType, topics: int, sent: int, empty: list[str], now_ns: int
) -> SnapshotEnd:
    """The end of the first messages of a request."""
    return SnapshotEnd(
        id=request_id, topics=topics, sent=sent, empty=empty, timestamp=rfc3339(now_ns)
    )
