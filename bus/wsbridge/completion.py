"""The end of a request for topics: the acknowledgement, the first messages, and what comes after.

Pure. The order is the protocol's: acknowledgement, then for each topic what it is given and its
live messages from there on, then ``snapshot_end``, then the states of the feeds concerned.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from msgspec import UNSET

from bus.wsbridge.grants import Grant, grant
from bus.wsbridge.holdings import Holdings
from bus.wsbridge.inquiries import feed_status, pattern_entry, snapshot_end, snapshot_reply
from bus.wsbridge.market import Market
from bus.wsbridge.messages import Limits, Rejection, Subscription, TopicEntry, rfc3339
from bus.wsbridge.profile import Profile
from bus.wsbridge.routes import Options
from bus.wsbridge.steps import Attach, Give, Join, Owe, Send, Step, Wanted
from bus.wsbridge.topics import Directory, shown


class Completion:
    """See the module. One per session, which it shares its holdings and profile with."""

    def __init__(
        self,
        holdings: Holdings,
        profile: Profile,
        options: Options,
        directory: Directory,
        market: Market,
    ) -> None:
        self._holdings = holdings
        self._profile = profile
        self._options = options
        self._directory = directory
        self._market = market

    def attached(self, attach: Attach, limits: Limits, now_ns: int) -> list[Step]:
        """The steps that complete ``attach``, now that its bus topics are warm or overdue."""
        if attach.purpose == "snapshot":
            return snapshot_reply(attach, self._market, limits, now_ns)
        holdings = self._holdings
        entries: list[TopicEntry] = []
        rejected = list(attach.rejected)
        matched: dict[str, list[Grant]] = {text: [] for text in attach.patterns}
        empty: list[str] = []
        after: list[Step] = []
        sent = 0
        budget = limits.max_history
        for wanted in _each_given_once(attach.wanted, holdings.patterns):
            granted = grant(wanted, self._market, now_ns, budget)
            has_value = granted.view.has_value
            if not has_value and not wanted.allow_pending and not wanted.pattern:
                rejected.append(_pending(wanted))
                continue
            holdings.take(wanted)
            if not wanted.pattern or wanted.since is not None:
                entries.append(granted.entry)
            if wanted.pattern in matched:
                matched[wanted.pattern].append(granted)
            if not has_value and wanted.topic.name not in empty:
                empty.append(wanted.topic.name)
            steps, used = self._begin(wanted, granted, budget)
            after += steps
            budget -= used
            sent += len(granted.given.kepts)
        if attach.purpose == "created":
            return after
        told = {entry.topic for entry in entries}
        entries += [
            pattern_entry(holdings.patterns[text], self._options, limits, grants, told)
            for text, grants in matched.items()
        ]
        if self._profile.is_full:
            topics = len(attach.wanted)
            after.append(Send(snapshot_end(attach.id, topics, sent, empty, now_ns)))
        if self._profile.events:
            feeds = dict.fromkeys(wanted.topic.feed for wanted in attach.wanted)
            after += [
                Send(feed_status(UNSET, feed, self._directory, self._market, now_ns))
                for feed in feeds
            ]
        if attach.purpose == "open":
            return after
        reply = Subscription(
            action="subscribed",
            id=attach.id,
            symbols=holdings.symbols(attach.stream_type),
            stream_type=attach.stream_type or UNSET,
            topics=entries,
            rejected=rejected,
            count=holdings.count(limits),
            limit=limits.subscriptions,
            timestamp=rfc3339(now_ns),
        )
        return [Send(reply), *after]

    def _begin(self, wanted: Wanted, granted: Grant, budget: int) -> tuple[list[Step], int]:
        """The first messages of a topic and its live ones, now or later; what they cost."""
        name = wanted.topic.name
        if self._market.is_warm(wanted.topic.bus_key):
            self._holdings.owed.pop(name, None)
            cost = 0 if wanted.topic.is_state else len(granted.given.kepts)
            return [*_gift(granted), self._live(wanted)], cost
        # The acknowledgement has said that nothing is recovered: the rest is a first
        # subscription, and its history counts against this request.
        history = min(wanted.history, budget)
        owed = replace(wanted, since=None, history=history)
        self._holdings.owed[name] = owed
        return [Owe(owed)], history

    def arrived(self, wanted: Wanted, limits: Limits, now_ns: int) -> list[Step]:
        """The first messages of an owed topic that has turned warm; nothing if it was given up."""
        name = wanted.topic.name
        if self._holdings.owed.get(name) is not wanted:
            return []
        del self._holdings.owed[name]
        granted = grant(wanted, self._market, now_ns, limits.max_history)
        return [*_gift(granted), self._live(wanted)]

    def _live(self, wanted: Wanted) -> Join:
        return self._holdings.best(wanted.topic.name) or Join(wanted.topic, wanted.terms)


def _each_given_once(asked: Iterable[Wanted], patterns: Container[str]) -> list[Wanted]:
    """What is still wanted, the first messages of each topic once, however often it is matched.

    They go with the subscription by name where there is one, whose entry tells of them, and with
    one that has a position before one that has none.
    """
    wanted = [one for one in asked if not one.pattern or one.pattern in patterns]
    ranked = sorted(wanted, key=lambda one: (one.since is None, bool(one.pattern)))
    first: dict[str, Wanted] = {}
    for one in ranked:
        first.setdefault(one.topic.name, one)
    return [
        one if first[one.topic.name] is one else replace(one, since=None, snapshot=False, history=0)
        for one in wanted
    ]


def _gift(granted: Grant) -> list[Step]:
    return [Give(granted.given)] if granted.given.kepts else []


def _pending(wanted: Wanted) -> Rejection:
    return Rejection(
        topic=wanted.topic.name,
        requested=shown(wanted.requested),
        code="symbol_unknown",
        message="it has no value at the moment, and allow_pending is false",
    )
