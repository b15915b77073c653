"""The first messages of a topic: what a subscription or a snapshot request is given at once.

Pure. Given a topic as it stands, decides between recovery, snapshot and history;
:mod:`bus.wsbridge.session` puts the acknowledgement before them and live data after.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bus.wsbridge.market import Market, View
from bus.wsbridge.messages import TopicEntry
from bus.wsbridge.steps import Given, Wanted


@dataclass(slots=True)
class Grant:
    """What one topic of a request is given: its entry in the acknowledgement, and messages."""

    entry: TopicEntry
    given: Given
    view: View


def grant(wanted: Wanted, market: Market, now_ns: int, budget: int) -> Grant:
    """The grant for ``wanted`` now. ``budget`` bounds the past messages of the whole request."""
    view = market.view(wanted.topic, now_ns)
    topic, style = wanted.topic, wanted.terms.style
    given = Given((), topic, style)
    recovered: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    if wanted.since is not None:
        recovery = market.recover(topic, wanted.since, now_ns)
        recovered = recovery.recovered
        if recovered and len(recovery.missed) > budget:
            recovered, reason = False, "too_many"
        elif recovered:
            given = Given(recovery.missed, topic, style, recovered=True)
        else:
            reason = recovery.reason
    history: int | UnsetType = UNSET
    snapshot = False
    if recovered is not True:
        count = 1 if wanted.snapshot else min(wanted.history, budget)
        if not topic.is_lossless and not wanted.snapshot:
            count = 0
        given = snapshots(wanted, market, view, count, now_ns)
        snapshot = bool(given.kepts)
        if not topic.is_state and wanted.history:
            history = len(given.kepts)
    entry = TopicEntry(
        topic=topic.name,
        requested=wanted.requested,
        state=view.state,
        age_ms=UNSET if view.age_ms is None else view.age_ms,
        epoch=UNSET if view.epoch is None else view.epoch,
        seq=view.seq,
        snapshot=snapshot,
        conflate_ms=style.conflate_ms,
        depth=style.depth or UNSET,
        numbers=UNSET if style.numbers == "float" else style.numbers,
        on_slow=UNSET if wanted.terms.on_slow == "close" else wanted.terms.on_slow,
        history=history,
        already=True if wanted.already else UNSET,
        recovered=recovered,
        reason=reason,
    )
    return Grant(entry, given, view)


def snapshots(wanted: Wanted, market: Market, view: View, count: int, now_ns: int) -> Given:
    """Up to ``count`` last messages of a topic, oldest first, marked as snapshot."""
    return Given(
        tuple(market.latest(wanted.topic, count, now_ns)),
        wanted.topic,
        wanted.terms.style,
        snapshot=True,
        stale_age_ms=view.stale_age_ms,
    )
