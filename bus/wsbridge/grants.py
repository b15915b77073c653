"""The first messages of a topic: what a subscription or a snapshot request is given at once.

Pure. Given a topic as it stands, decides between recovery, snapshot and history, and makes the
messages; :mod:`bus.wsbridge.session` puts the acknowledgement before them and live data after.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import UNSET, UnsetType

from bus.wsbridge.market import Market, View
from bus.wsbridge.messages import DataMessage, TopicEntry
from bus.wsbridge.payloads import message_of
from bus.wsbridge.steps import Wanted


@dataclass(slots=True)
class Grant:
    """What one topic of a request is given: its entry in the acknowledgement, and messages."""

    entry: TopicEntry
    messages: list[DataMessage]


def grant(wanted: Wanted, market: Market, now_ns: int, budget: int) -> Grant:
    """The grant for ``wanted`` now. ``budget`` bounds the past messages of the whole request."""
    view = market.view(wanted.topic, now_ns)
    messages: list[DataMessage] = []
    recovered: bool | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    if wanted.since is not None:
        recovery = market.recover(wanted.topic, wanted.since, now_ns)
        recovered = recovery.recovered
        if recovered and len(recovery.ticks) > budget:
            recovered, reason = False, "too_many"
        elif recovered:
            messages = [
                message_of(tick, wanted.topic, depth=wanted.depth, recovered=True)
                for tick in recovery.ticks
            ]
        else:
            reason = recovery.reason
    history: int | UnsetType = UNSET
    snapshot = False
    if recovered is not True:
        count = 1 if wanted.snapshot else min(wanted.history, budget)
        if wanted.topic.is_state and not wanted.snapshot:
            count = 0
        messages = snapshots(wanted, market, view, count, now_ns)
        snapshot = bool(messages)
        if not wanted.topic.is_state and wanted.history:
            history = len(messages)
    entry = TopicEntry(
        topic=wanted.topic.name,
        requested=wanted.requested,
        state=view.state,
        age_ms=UNSET if view.age_ms is None else view.age_ms,
        epoch=UNSET if view.epoch is None else view.epoch,
        seq=view.seq,
        snapshot=snapshot,
        depth=wanted.depth or UNSET,
        history=history,
        already=True if wanted.already else UNSET,
        recovered=recovered,
        reason=reason,
    )
    return Grant(entry, messages)


def snapshots(
    wanted: Wanted, market: Market, view: View, count: int, now_ns: int
) -> list[DataMessage]:
    """Up to ``count`` last messages of a topic, oldest first, marked as snapshot."""
    return [
        message_of(
            tick,
            wanted.topic,
            depth=wanted.depth,
            snapshot=True,
            stale_age_ms=view.stale_age_ms,
        )
        for tick in market.latest(wanted.topic, count, now_ns)
    ]
