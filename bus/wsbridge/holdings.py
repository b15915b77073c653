"""What one client holds: topics by name, topics by wildcard, and on which terms it gets each.

Pure. A topic that several subscriptions match is sent once, at the fastest conflation among them.
A wildcard counts as ``wildcard_cost`` topics against the limit, however many it matches.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import UNSET

from bus.wsbridge.grants import Grant
from bus.wsbridge.messages import Limits, Rejection, Subscribe
from bus.wsbridge.payloads import DEFAULT_DEPTH
from bus.wsbridge.routes import Options
from bus.wsbridge.steps import Join, Wanted
from bus.wsbridge.style import Style, Terms, granted_class_ms
from bus.wsbridge.topics import Directory, MarketTopic, Unknown, shown


@dataclass(slots=True)
class Pattern:
    """One wildcard that is held: how its topics are wanted, and those it has brought so far."""

    text: str
    request: Subscribe
    topics: dict[str, Join] = field(default_factory=dict)


@dataclass(slots=True)
class Room:
    """How many past messages of lossless topics a request may still bring, at once or late."""

    messages: int

    def take(self, granted: Grant) -> None:
        """What one topic is given counts; the one value of a state topic does not."""
        if not granted.given.topic.is_state:
            self.messages -= len(granted.given.kepts)


@dataclass(frozen=True, slots=True)
class Owed:
    """A topic that was acknowledged cold, and what its request may still bring."""

    wanted: Wanted
    room: Room


class Holdings:
    """See the module."""

    def __init__(self, options: Options, directory: Directory) -> None:
        self._options = options
        self._directory = directory
        self.named: dict[str, Join] = {}
        self.patterns: dict[str, Pattern] = {}
        self.owed: dict[str, Owed] = {}

    # ------------------------------------------------------------------ what is held

    def __contains__(self, name: object) -> bool:
        return name in self.named or any(name in one.topics for one in self.patterns.values())

    def count(self, limits: Limits) -> int:
        """What counts against the limit of topics."""
        return len(self.named) + limits.wildcard_cost * len(self.patterns)

    def effective(self) -> list[Join]:
        """Every topic the client gets, once, on the terms it gets it."""
        found = {name: join.topic for name, join in self.named.items()}
        for pattern in self.patterns.values():
            found |= {name: join.topic for name, join in pattern.topics.items()}
        return [join for name in found if (join := self.best(name)) is not None]

    def best(self, name: str) -> Join | None:
        """The fastest of the subscriptions that bring a topic; ``None`` when none does."""
        joins = [self.named[name]] if name in self.named else []
        joins += [one.topics[name] for one in self.patterns.values() if name in one.topics]
        return min(joins, key=lambda join: join.terms.style.conflate_ms, default=None)

    def symbols(self, stream: str | None) -> list[str]:
        """The display symbols held by name: of one stream, or of all."""
        return symbols_of(
            join.topic
            for join in self.named.values()
            if stream is None or join.topic.stream == stream
        )

    def feeds(self) -> set[str]:
        """The feeds of everything the client gets."""
        return {join.topic.feed for join in self.effective()}

    def take(self, wanted: Wanted) -> None:
        """Hold a topic from here on."""
        join = Join(wanted.topic, wanted.terms)
        pattern = self.patterns.get(wanted.pattern)
        if pattern is not None:
            pattern.topics[wanted.topic.name] = join
        else:
            self.named[wanted.topic.name] = join

    def drop(self, name: str) -> bool:
        """Hold a name no more; whether some wildcard still brings the topic."""
        self.named.pop(name, None)
        still = name in self
        if not still:
            self.owed.pop(name, None)
        return still

    def drop_pattern(self, text: str) -> list[MarketTopic]:
        """Hold a wildcard no more; the topics that nothing brings any more."""
        pattern = self.patterns.pop(text)
        gone = [join.topic for name, join in pattern.topics.items() if name not in self]
        for topic in gone:
            self.owed.pop(topic.name, None)
        return gone

    # ------------------------------------------------------------------ what is wanted

    def terms(self, topic: MarketTopic, request: Subscribe, limits: Limits) -> Terms:
        """On which terms a topic is granted; what is not said stays as it is, or is the URL's."""
        options = self._options
        held = self.named.get(topic.name)
        if request.depth is not UNSET:
            depth = request.depth
        elif held is not None:
            depth = held.terms.style.depth
        else:
            depth = options.depth or min(DEFAULT_DEPTH, limits.max_depth)
        if request.conflate_ms is not UNSET:
            asked_ms: float = request.conflate_ms
        else:
            asked_ms = options.conflate_ms if held is None else held.terms.style.conflate_ms
        numbers = options.numbers if held is None else held.terms.style.numbers
        if request.numbers is not UNSET:
            numbers = "string" if request.numbers == "string" else "float"
        on_slow = "close" if held is None else held.terms.on_slow
        if request.on_slow is not UNSET:
            on_slow = "gap" if request.on_slow == "gap" else "close"
        has_depth = topic.stream == "orderbook" and not topic.is_delta
        return Terms(
            Style(
                depth if has_depth else 0,
                numbers,
                granted_class_ms(asked_ms, limits.min_conflate_ms),
            ),
            on_slow,
        )

    def want(
        self,
        topic: MarketTopic,
        requested: str,
        request: Subscribe,
        limits: Limits,
        pattern: str = "",
    ) -> Wanted:
        """A topic of a request, with what this connection holds already in mind."""
        already = topic.name in (self.patterns[pattern].topics if pattern else self.named)
        had = topic.name in self
        late = self.owed.pop(topic.name, None)  # this request takes its place
        owed = None if late is None else late.wanted
        if had and (owed is None or request.snapshot is not UNSET):
            snapshot = request.snapshot is True
        elif owed is not None:
            snapshot = owed.snapshot
        elif request.snapshot is UNSET:
            snapshot = self._options.snapshot
        else:
            snapshot = bool(request.snapshot)
        since = request.since.get(topic.name)
        if since is None and not pattern:  # what a wildcard matches has each its own position
            since = request.since.get(requested)
        has_value = not topic.is_lossless
        return Wanted(
            topic=topic,
            requested=requested,
            terms=self.terms(topic, request, limits),
            snapshot=snapshot and has_value,
            history=0 if has_value else request.history or (owed.history if owed else 0),
            since=since,
            already=already,
            allow_pending=request.allow_pending or already,
            pattern=pattern,
        )

    def created(self, limits: Limits) -> list[Wanted]:
        """Topics that the client's wildcards match and have not brought yet."""
        wanted: dict[str, Wanted] = {}
        for pattern in self.patterns.values():
            found = self._directory.matching(pattern.text)
            for topic in [] if isinstance(found, Unknown) else found:
                topic = self.as_asked(topic, pattern.request)
                if topic.name not in pattern.topics and topic.name not in wanted:
                    wanted[topic.name] = self.want(
                        topic, pattern.text, pattern.request, limits, pattern.text
                    )
        return list(wanted.values())

    def as_asked(self, topic: MarketTopic, request: Subscribe) -> MarketTopic:
        """The form of an order book that was asked for."""
        book = self._options.book if request.book is UNSET else request.book
        return self._directory.as_delta(topic) if book == "delta" else topic


def over_limit(topic: str, requested: str, limits: Limits) -> Rejection:
    """One topic too many."""
    limit = limits.subscriptions
    return Rejection(
        topic=topic,
        requested=shown(requested),
        code="limit_subscriptions",
        message=f"a connection holds, and a request names, at most {limit} topics",
    )


def symbols_of(topics: Iterable[MarketTopic]) -> list[str]:
    """The display symbols (of news: categories) of topics, each once, in order."""
    return list(dict.fromkeys(topic.symbol for topic in topics))
