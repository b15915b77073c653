"""The end of a request for topics: the acknowledgement, the first messages, and what comes after.

Pure. The order is the protocol's: acknowledgement, then for each topic what it is given and its
live messages from there on, then ``snapshot_end``, then the states of the feeds concerned.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from msgspec import UNSET

from bus.wsbridge.grants import Grant, grant
from bus.wsbridge.holdings import Holdings, Owed, Room
from bus.wsbridge.inquiries import feed_status, pattern_entry, snapshot_end, snapshot_reply
from bus.wsbridge.market import Market
from bus.wsbridge.messages import Gap, Limits, Rejection, Subscription, TopicEntry, rfc3339
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
        room = Room(limits.max_history)
        for wanted in _each_given_once(attach.wanted, holdings.patterns):
            granted = grant(wanted, self._market, now_ns, room.messages)
            has_value = granted.view.has_value
            if not has_value and not wanted.allow_pending and not wanted.pattern:
                rejected.append(_pending(wanted))
                if wanted.topic.name in holdings:  # a wildcard still waits for it
                    after += self._begin(wanted, granted, room)
                continue
            holdings.take(wanted)
            if not wanted.pattern or wanted.since is not None:
                entries.append(granted.entry)
            if wanted.pattern in matched:
                matched[wanted.pattern].append(granted)
            if not has_value and wanted.topic.name not in empty:
                empty.append(wanted.topic.name)
            after += self._begin(wanted, granted, room)
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

    def _begin(self, wanted: Wanted, granted: Grant, room: Room) -> list[Step]:
        """The first messages of a topic and its live ones, now or later."""
        name = wanted.topic.name
        if self._market.is_warm(wanted.topic.bus_key):
            self._holdings.owed.pop(name, None)
            room.take(granted)
            return [*_gift(granted), self._live(wanted, granted)]
        if not wanted.topic.is_lossless:
            # The acknowledgement has said that nothing is recovered: its value is owed whole.
            wanted = replace(wanted, since=None)
        self._holdings.owed[name] = Owed(wanted, room)
        return [Owe(wanted)]

    def arrived(self, wanted: Wanted, now_ns: int) -> list[Step]:
        """The first messages of an owed topic that has turned warm; nothing if it was given up.

        What a returning client has missed of a lossless topic comes too, late as it is; or a gap
        says how much is gone.
        """
        name = wanted.topic.name
        owed = self._holdings.owed.get(name)
        if owed is None or owed.wanted is not wanted:
            return []
        del self._holdings.owed[name]
        granted = grant(wanted, self._market, now_ns, owed.room.messages)
        owed.room.take(granted)
        granted.given = replace(granted.given, names_epoch=True)
        return [*self._gap(wanted, granted, now_ns), *_gift(granted), self._live(wanted, granted)]

    def _gap(self, wanted: Wanted, granted: Grant, now_ns: int) -> list[Step]:
        """What an owed topic has lost since the position of its client, which it was not told."""
        since, view = wanted.since, granted.view
        if since is None or granted.entry.recovered is True or not self._profile.events:
            return []
        if since.epoch != view.epoch or view.seq <= since.seq:
            return []
        gap = Gap(
            topic=wanted.topic.name,
            epoch=since.epoch,
            from_seq=since.seq + 1,
            to_seq=view.seq,
            count=view.seq - since.seq,
            reason="bus",
            timestamp=rfc3339(now_ns),
        )
        return [Send(gap)]

    def _live(self, wanted: Wanted, granted: Grant) -> Join:
        join = self._holdings.best(wanted.topic.name) or Join(wanted.topic, wanted.terms)
        given = granted.given
        is_whole = given.style.depth >= join.terms.style.depth
        is_shown = bool(given.kepts) and is_whole and not wanted.topic.is_lossless
        return replace(join, is_shown=is_shown)


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
