"""From a checked request to what it takes: which topics, on which terms, and what is refused.

Pure. Decides nothing about the market: values, states and the order of messages are the session's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from msgspec import UNSET

from bus.wsbridge.access.replies import forbidden
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.holdings import Holdings, Pattern, over_limit
from bus.wsbridge.messages import Rejection, SnapshotRequest, Subscribe, Unsubscribe, error
from bus.wsbridge.naming import (
    held_topics,
    named_topics,
    only_stream,
    pattern_of,
    split_patterns,
)
from bus.wsbridge.payloads import DEFAULT_DEPTH
from bus.wsbridge.steps import Attach, Send, Step, Wanted
from bus.wsbridge.style import Style, Terms
from bus.wsbridge.topics import Directory, MarketTopic, Unknown, shown


def plan_subscribe(
    request: Subscribe, holdings: Holdings, directory: Directory, warden: Warden
) -> Attach:
    """What a ``subscribe`` needs, name by name; its wildcards are held from here on."""
    limits = warden.limits
    plain, patterns = split_patterns(request)
    assert isinstance(plain, Subscribe), "the kind of request stays"
    wanted: dict[str, Wanted] = {}
    rejected: list[Rejection] = []
    room = limits.subscriptions - holdings.count(limits)
    for requested, named in named_topics(directory, plain):
        if isinstance(named, Unknown):
            rejected.append(rejection_of(named))
            continue
        found = holdings.as_asked(named, request)
        if not warden.allows(found):
            rejected.append(forbidden(found, requested))
        elif found.name not in wanted:
            if found.name not in holdings.named:
                if room <= 0:
                    rejected.append(over_limit(found.name, requested, limits))
                    continue
                room -= 1
            wanted[found.name] = holdings.want(found, requested, request, limits)
    granted: list[str] = []
    extra: list[Wanted] = []
    for text in patterns:
        refused = _refusal_of(text, directory, warden, room, holdings)
        if refused is not None:
            rejected.append(refused)
            continue
        if text not in holdings.patterns:
            room -= limits.wildcard_cost
        granted.append(text)
        known = holdings.patterns.get(text)
        topics = {} if known is None else known.topics
        holdings.patterns[text] = Pattern(text, request, topics)
        extra += _matches(text, wanted, request, holdings, directory, warden)
    every = (*wanted.values(), *extra)
    streams = {want.topic.stream for want in wanted.values()}
    label = streams.pop() if len(streams) == 1 and not granted else only_stream(request)
    return Attach("subscribe", every, tuple(rejected), tuple(granted), request.id, label)


def _refusal_of(
    text: str, directory: Directory, warden: Warden, room: int, holdings: Holdings
) -> Rejection | None:
    found = directory.matching(text)
    if isinstance(found, Unknown):
        return rejection_of(found)
    if not warden.allows_pattern(text.removesuffix("#delta")):
        return Rejection(
            topic=shown(text),
            requested=shown(text),
            code="forbidden",
            message="the token does not allow everything that this matches",
        )
    cost = warden.limits.wildcard_cost
    if text not in holdings.patterns and room < cost:
        return Rejection(
            topic=shown(text),
            requested=shown(text),
            code="limit_wildcards",
            message=f"a wildcard counts as {cost} topics, and {max(room, 0)} are left",
        )
    return None


def _matches(
    text: str,
    wanted: dict[str, Wanted],
    request: Subscribe,
    holdings: Holdings,
    directory: Directory,
    warden: Warden,
) -> Iterator[Wanted]:
    found = directory.matching(text)
    for named in [] if isinstance(found, Unknown) else found:
        topic = holdings.as_asked(named, request)
        want = holdings.want(topic, text, request, warden.limits, text)
        if topic.name in wanted:  # the same request names it: one snapshot is enough
            want = replace(want, snapshot=False, history=0, since=None)
        yield want


def plan_snapshot(
    request: SnapshotRequest, holdings: Holdings, directory: Directory, warden: Warden, now_ns: int
) -> list[Step]:
    """What a ``snapshot`` needs, after an error for each name that is refused."""
    limits = warden.limits
    wanted: dict[str, Wanted] = {}
    steps: list[Step] = []
    for requested, named in _all_named(request, directory):
        refused: Unknown | Rejection | None = None
        if isinstance(named, Unknown):
            refused = named
        else:
            found = holdings.as_asked(named, Subscribe(book=request.book))
            if not warden.allows(found):
                refused = forbidden(found, requested)
            elif found.name in wanted:
                continue
            elif len(wanted) >= limits.subscriptions:
                refused = over_limit(found.name, requested, limits)
            else:
                wanted[found.name] = _once(found, requested, request, limits.max_depth)
        if refused is not None:
            message = error(
                refused.code,
                refused.message,
                now_ns=now_ns,
                id=request.id,
                topic=refused.topic or UNSET,
            )
            steps.append(Send(message))
    return [*steps, Attach("snapshot", tuple(wanted.values()), id=request.id)]


def _all_named(
    request: SnapshotRequest, directory: Directory
) -> list[tuple[str, MarketTopic | Unknown]]:
    plain, patterns = split_patterns(request)
    assert isinstance(plain, SnapshotRequest), "the kind of request stays"
    named = named_topics(directory, plain)
    for text in patterns:
        found = directory.matching(text)
        if isinstance(found, Unknown):
            named.append((text, found))
        else:
            named += [(text, topic) for topic in found]
    return named


def _once(topic: MarketTopic, requested: str, request: SnapshotRequest, max_depth: int) -> Wanted:
    depth = min(DEFAULT_DEPTH if request.depth is UNSET else request.depth, max_depth)
    has_depth = topic.stream == "orderbook" and not topic.is_delta
    style = Style(depth if has_depth else 0, "string" if request.numbers == "string" else "float")
    return Wanted(
        topic=topic,
        requested=requested,
        terms=Terms(style),
        snapshot=True,
        history=1 if request.history is UNSET else request.history,
        since=None,
        already=False,
    )


@dataclass(slots=True)
class Removal:
    """What an ``unsubscribe`` ends: ``removed`` topics come no more, ``names`` and ``patterns``
    are held no more, though a wildcard may still bring the topic."""

    names: dict[str, MarketTopic] = field(default_factory=dict)
    patterns: list[str] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def plan_unsubscribe(request: Unsubscribe, holdings: Holdings, directory: Directory) -> Removal:
    """What an ``unsubscribe`` means for what is held. Without names: everything."""
    removal = Removal()
    named = (request.symbols, request.symbol, request.topics) != (UNSET, UNSET, UNSET)
    if request.all or not named:
        removal.names = {name: join.topic for name, join in holdings.named.items()}
        removal.patterns = list(holdings.patterns)
        return removal
    plain, patterns = split_patterns(request)
    assert isinstance(plain, Unsubscribe), "the kind of request stays"
    held = [join.topic for join in holdings.named.values()]
    for requested, meant in held_topics(directory, plain, held):
        removal.names |= {topic.name: topic for topic in meant}
        if not meant:
            removal.rejected.append(_not_held(requested))
    for text in patterns:
        matched = [one for one in holdings.patterns if one == pattern_of(text)]
        if not matched and request.stream_type is UNSET and request.topics is UNSET:
            symbol = text.partition(".")[2]
            matched = [one for one in holdings.patterns if one.partition(".")[2] == symbol]
        removal.patterns += [one for one in matched if one not in removal.patterns]
        if not matched:
            removal.rejected.append(_not_held(text))
    return removal


def _not_held(text: str) -> Rejection:
    return Rejection(
        requested=shown(text),
        code="not_subscribed",
        message=f"this connection does not hold {shown(text)}",
    )


def other_topic(
    request: Subscribe, fixed: MarketTopic, holdings: Holdings, directory: Directory
) -> str | None:
    """On a fixed endpoint: a topic of the request that is not the URL's, if there is one."""
    _, patterns = split_patterns(request)
    if patterns:
        return patterns[0]
    for _, found in named_topics(directory, request):
        if isinstance(found, Unknown):
            return found.topic
        if found.name != fixed.name and holdings.as_asked(found, request).name != fixed.name:
            return found.name
    return None


def rejection_of(found: Unknown) -> Rejection:
    """A name that means nothing."""
    return Rejection(
        topic=found.topic or UNSET,
        requested=shown(found.requested),
        code=found.code,
        message=found.message,
    )
