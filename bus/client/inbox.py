"""The consumer's half of the bus protocol, without I/O: frames in, deliveries and commands out.

An :class:`Inbox` turns what one SUB socket receives into what a program should see: per prefix the
broker's snapshot first and then live messages, each exactly once and in order within its topic,
holes of event and delta topics repaired or reported. It owns no socket and no clock. Its owner,
after every call, executes :meth:`Inbox.take_commands` in order and then hands on
:meth:`Inbox.take_deliveries`; it calls :meth:`Inbox.service` at least every 100 ms.

The rules, as the code refers to them:

1.  A topic without a position begins with the first message seen of it.
2.  Same epoch: ``seq`` + 1 is delivered; anything not newer is a duplicate and dropped.
3.  Same epoch, further ahead: a state topic goes on (what was skipped is counted); an event or
    delta topic is held back and the hole is asked for by replay.
4.  A greater epoch is announced and starts at ``seq`` 1 (a later start is a hole, rule 3); a
    lesser one is dropped.
5.  While the snapshot of a subscription is on its way, live messages of topics that are not live
    yet are held back; at the end marker they follow, by the rules above.
6.  A replay that is refused (``gone``), too late or fruitless ends in a reported gap. For an event
    topic the messages still held by the broker follow; a delta topic starts again from the
    broker's last depth snapshot.
7.  After a reconnection rule 5 applies to every subscription anew; event and delta topics under
    subscriptions without snapshot are asked for by replay from their last position.
8.  What was lost on one topic (rule 3) may have been the last word of another, which nothing
    follows. So a second after a loss everything is asked for as in rule 7, without holding live
    topics back; while losses go on the pause doubles, up to a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from bus.client.asking import (
    Asked,
    AuditSchedule,
    Requests,
    Subscription,
    answer_root,
    covering,
    waited_for,
)
from bus.client.deliveries import (
    Command,
    Delivery,
    GapReason,
    Message,
    SnapshotEnded,
    Subscribe,
    Unsubscribe,
)
from bus.client.limits import InboxCounters, InboxLimits, InboxStats
from bus.client.positions import Held, Positions, TopicState
from bus.errors import PayloadError, WireError
from bus.model.streams import STREAMS
from bus.wire.codec import position
from bus.wire.requests import End, Gone, ReplayRequest, decode_marker, new_request_id
from bus.wire.topic import check_prefix, parse_topic

_MARKER_TAGS: Final = (0x92, 0x93)  # arrays of 2 and 3: a message has at least 6 fields


class Inbox:
    """See the module. Not thread-safe. ``now_ns`` is any monotonic clock, always the same one."""

    def __init__(
        self,
        limits: InboxLimits | None = None,
        *,
        new_id: Callable[[], bytes] = new_request_id,
    ) -> None:
        self.limits: Final = limits or InboxLimits()
        self._positions: Final = Positions()
        self._topics: dict[bytes, TopicState] = {}
        self._subscriptions: dict[bytes, Subscription] = {}
        self._requests: Final = Requests(self.limits.timeout_ns, new_id)
        self._counters: Final = InboxCounters()
        self._schedule: Final = AuditSchedule()

    # --- what the owner calls -------------------------------------------------------------------

    def subscribe(self, prefix: bytes | str, now_ns: int, *, snapshot: bool = True) -> bool:
        """Want every topic under ``prefix`` (a topic is its own prefix); False if it already is.

        With ``snapshot`` the broker's cached messages come first, then ``SnapshotEnded``, then live
        ones. Topics that are live already through another subscription stay so, and are not
        delivered again. Raises :class:`~bus.errors.TopicError` for a malformed prefix.
        """
        key = check_prefix(prefix)
        if key in self._subscriptions:
            return False
        self._requests.now_ns = now_ns
        self._requests.commands.append(Subscribe(key))
        subscription = self._subscriptions[key] = Subscription(key, snapshot)
        if snapshot:
            subscription.pending = self._requests.snapshot(subscription.prefix)
        return True

    def unsubscribe(self, prefix: bytes | str, now_ns: int) -> bool:
        """Want ``prefix`` no more; False if it was not wanted. Forgets topics nothing else wants.

        Nothing of those topics is delivered after this call; what was taken before stays valid.
        """
        key = check_prefix(prefix)
        subscription = self._subscriptions.pop(key, None)
        if subscription is None:
            return False
        self._requests.now_ns = now_ns
        self._requests.commands.append(Unsubscribe(key))
        known = self._topics.get(key)
        if known is not None and key.count(b"/") == 4:  # nothing can be below it
            leaving = [known]
        else:
            leaving = [t for t in self._topics.values() if t.key.startswith(key)]
        for topic in leaving:
            if covering(self._subscriptions, topic.key) is None:
                del self._topics[topic.key]
                if topic.gate is not None and topic.gate.topic is topic:
                    self._requests.close(topic.gate)
        if subscription.pending is not None:
            self._requests.close(subscription.pending)
            self._release(subscription.pending)
        return True

    def receive(self, frames: Iterable[bytes], now_ns: int) -> None:
        """Take frames from the socket. Never raises on what others sent."""
        self._requests.now_ns = now_ns
        topics, positions = self._topics, self._positions
        out = positions.out
        for frame in frames:
            cut = frame.find(b"\0")
            topic = topics.get(frame[:cut])
            try:
                if topic is None:
                    self._on_unknown(frame, cut)
                    continue
                epoch, seq = position(frame[cut + 1 :])
            except WireError:
                self._counters.malformed += 1
                continue
            if seq == topic.seq + 1 and epoch == topic.epoch and topic.gate is None:  # rule 2
                topic.seq = seq
                positions.messages += 1
                out.append(Message("live", topic.key, epoch, seq, frame))
            else:
                self._route((epoch, seq, "live", frame, topic))

    def reconnected(self, now_ns: int) -> None:
        """The socket's connection was lost and is back: catch up with everything (rule 7)."""
        self._requests.now_ns = now_ns
        for subscription in self._subscriptions.values():
            if subscription.pending is not None:
                self._ask_again(subscription.pending)
            elif subscription.snapshot:
                subscription.pending = self._requests.snapshot(subscription.prefix)
        for topic in self._topics.values():
            if topic.gate is None:
                found = covering(self._subscriptions, topic.key, snapshot=True)
                if found is not None and found.pending is not None:
                    found.pending.gate(topic)
        self._replay_uncovered()

    def service(self, now_ns: int) -> None:
        """Ask again for what the broker has not answered in time, or give it up; rule 8."""
        self._requests.now_ns = now_ns
        if self._schedule.is_due(self._positions.losses, now_ns):
            self._audit()
        for asked in self._requests.overdue():
            if asked.topic is None:
                self._ask_again(asked)
            else:
                self._ask_again_or_give_up(asked, "timeout")

    def take_commands(self) -> list[Command]:
        """The commands since the last call, to be executed in this order."""
        requests = self._requests
        if not requests.commands:
            return []
        commands, requests.commands = requests.commands, []
        return commands

    def take_deliveries(self) -> list[Delivery]:
        """The deliveries since the last call, in order."""
        deliveries, self._positions.out = self._positions.out, []
        return deliveries

    def position(self, topic: bytes) -> tuple[int, int] | None:
        """The (epoch, seq) of the last message delivered of ``topic``, or None."""
        known = self._topics.get(topic)
        return (known.epoch, known.seq) if known and known.has_position else None

    @property
    def waiting(self) -> bool:
        """Whether a snapshot or replay is still to be answered."""
        return len(self._requests) > 0

    def stats(self) -> InboxStats:
        """What has happened so far; a frozen value."""
        return self._counters.stats(self._positions, self._requests.held(), len(self._topics))

    # --- frames ---------------------------------------------------------------------------------

    def _on_unknown(self, frame: bytes, cut: int) -> None:
        """A frame of no known topic: an answer of the broker, or the first message of a topic."""
        if cut < 0:
            raise PayloadError("no NUL byte between topic and payload")
        root = answer_root(frame)
        if not root:
            epoch, seq = position(frame[cut + 1 :])
            topic = self._first_sight(frame[:cut])
            if topic is not None:
                self._route((epoch, seq, "live", frame, topic))
            return
        asked = self._requests.answered(root)
        if asked is None:
            self._counters.unwanted += 1
            return
        payload = frame[cut + 1 :]
        if payload[:1] and payload[0] in _MARKER_TAGS and frame[:cut] == asked.request.key:
            self._on_marker(asked, decode_marker(payload))
        else:
            asked.received += 1
            self._on_answer(asked, frame[len(root) :], frame[len(root) : cut], payload)

    def _first_sight(self, key: bytes) -> TopicState | None:
        """Begin to know a topic, gated by the snapshot that is on its way for it, if any."""
        found = covering(self._subscriptions, key)
        if found is None:
            self._counters.unwanted += 1
            return None
        kind = STREAMS[parse_topic(key).stream].kind
        if len(self._topics) >= self.limits.max_topics:
            self._counters.refused += 1
            return None
        topic = self._topics[key] = TopicState(key, kind)
        if found.pending is not None:  # rule 5
            found.pending.gate(topic)
        return topic

    def _route(self, held: Held) -> None:
        """Deliver a message by the rules, or hold it back while its topic is gated."""
        topic = held[4]
        gate = topic.gate
        if gate is None:
            if not self._positions.accept(held):
                self._ask_replay(topic, [held])
            return
        gate.hold.append(held)
        size = len(gate.hold)
        self._counters.held_peak = max(self._counters.held_peak, size)
        if gate.topic is None:
            if size > self.limits.max_held:
                self._counters.held_dropped += size
                gate.hold = []
                self._ask_again(gate)
        elif size > self.limits.max_held_repair:
            self._give_up(gate, "overflow")

    # --- answers --------------------------------------------------------------------------------

    def _on_answer(self, asked: Asked, frame: bytes, key: bytes, payload: bytes) -> None:
        """One message of a snapshot or replay."""
        epoch, seq = position(payload)
        topic = asked.topic
        if topic is not None and topic.key != key:
            raise PayloadError("an answer about another topic", key)
        if isinstance(asked.request, ReplayRequest):
            if topic is not None and not asked.broken:
                if self._positions.accept_replayed((epoch, seq, "replay", frame, topic)):
                    asked.delivered += 1
                else:  # the broker's answer itself lost messages on its way: ask again at its end
                    asked.broken = True
            return
        if topic is not None:  # rule 6: a delta topic starts again
            if topic.is_newer(epoch, seq):
                self._positions.skip_to(topic, epoch, seq, "gone")
                asked.delivered += 1
            self._positions.accept((epoch, seq, "snapshot", frame, topic))
            return
        topic = self._topics.get(key) or self._first_sight(key)
        if topic is None:
            return
        held: Held = (epoch, seq, "snapshot", frame, topic)
        if topic.gate is not None and topic.gate.topic is topic:
            # Being repaired: the replay brings the same, and is asked for again if not all of it.
            topic.gate.passed_over = True
        elif not self._positions.accept(held):
            self._ask_replay(topic, [held])

    def _on_marker(self, asked: Asked, marker: End | Gone) -> None:
        """The end of an answer, or the refusal of one."""
        if isinstance(marker, Gone):
            self._on_gone(asked, marker)
        elif asked.topic is None:
            self._end_snapshot(asked, marker.count, max(marker.count - asked.received, 0))
        elif marker.count > asked.received or asked.broken:
            self._ask_again_or_give_up(asked, "missing")
        elif asked.delivered:
            self._requests.close(asked)
            self._release(asked)
        else:  # a whole answer, yet not what was missed: asking again would not end
            self._give_up(asked, "missing")

    def _end_snapshot(self, asked: Asked, count: int, missing: int) -> None:
        """All of a snapshot is here, or as much of it as there will be."""
        if missing and asked.attempts < self.limits.attempts:
            asked.attempts += 1
            self._ask_again(asked)
        else:
            self._requests.end(asked, count, missing)
            self._finish_snapshot(asked)

    def _finish_snapshot(self, asked: Asked) -> None:
        """Report a snapshot that is whole, and let what waited for it go on."""
        if asked.ended is None or asked.unrepaired:
            return
        subscription = self._subscriptions.get(asked.prefix)
        if subscription is not None and subscription.pending is asked:
            subscription.pending = None
        self._counters.snapshots += 1
        self._positions.out.append(SnapshotEnded(asked.prefix, *asked.ended))
        self._release(asked)

    def _on_gone(self, asked: Asked, gone: Gone) -> None:
        """The broker no longer holds the position: rule 6."""
        topic = asked.topic
        oldest = (gone.oldest_epoch, gone.oldest_seq)
        first = asked.first_held()
        if topic and oldest != (0, 0) and asked.attempts < self.limits.attempts:
            asked.attempts += 1
            if topic.is_delta:
                self._requests.snapshot_instead(asked, topic)
                return
            if topic.is_newer(*oldest) and (first is None or oldest <= first):
                self._positions.skip_to(topic, *oldest, "gone")
                self._ask_again(asked)
                return
        self._give_up(asked, "gone")

    # --- asking ---------------------------------------------------------------------------------

    def _audit(self) -> None:
        """Rule 8."""
        self._counters.audits += 1
        for subscription in self._subscriptions.values():
            if subscription.snapshot and subscription.pending is None:
                subscription.pending = self._requests.snapshot(subscription.prefix)
        self._replay_uncovered()

    def _replay_uncovered(self) -> None:
        """Ask for what no snapshot brings: event and delta topics of live-only subscriptions."""
        for topic in self._topics.values():
            wanted = topic.gate is None and topic.lossless and topic.has_position
            if wanted and covering(self._subscriptions, topic.key, snapshot=True) is None:
                self._ask_replay(topic, [])

    def _ask_replay(self, topic: TopicState, hold: list[Held]) -> None:
        """Rule 3: hold ``topic`` back and ask for what follows its position."""
        self._counters.repairs += 1
        self._requests.replay(topic, hold)

    def _ask_again(self, asked: Asked) -> None:
        self._counters.retries += 1
        self._requests.again(asked)

    def _ask_again_or_give_up(self, asked: Asked, reason: GapReason) -> None:
        if asked.delivered:
            asked.attempts = 0  # it gets on, if slowly
        if asked.attempts < self.limits.attempts:
            asked.attempts += 1
            self._ask_again(asked)
        else:
            self._give_up(asked, reason)

    def _give_up(self, asked: Asked, reason: GapReason) -> None:
        """End a repair: report what is missing up to the first message held, then go on."""
        self._requests.close(asked)
        first = asked.first_held()
        if first is not None and asked.topic is not None:
            self._positions.skip_to(asked.topic, *first, reason)
        self._release(asked)

    def _release(self, asked: Asked) -> None:
        """Open the gate; what was held back goes its way by the rules."""
        for gated in asked.gated:
            if gated.gate is asked:
                gated.gate = None
        for held in asked.take_hold():
            if self._topics.get(held[4].key) is held[4]:
                self._route(held)
        topic = asked.topic
        if topic is None:
            return
        if not asked.passed_over or self._topics.get(topic.key) is not topic:
            for snapshot in waited_for(self._subscriptions, topic):
                self._finish_snapshot(snapshot)
        elif topic.gate is None:
            self._ask_replay(topic, [])
