"""From bus messages to the units of channels: encoded once a form, framed once a wire.

Pure. Also makes what single clients are given: past messages when their turn comes
(:meth:`Rendering.show`) and the present value for a client that was spared older ones
(:meth:`Rendering.latest`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from bus.client.deliveries import GapFound
from bus.model import Depth, Tick
from bus.wsbridge.channels import MAX_WAITING_BYTES, Channel, Mark, Merge, Unit
from bus.wsbridge.frames import array_of
from bus.wsbridge.lines import BookStep, Kept, Line
from bus.wsbridge.market import Market
from bus.wsbridge.messages import DataMessage, Gap, Reset, encode, epoch_text, rfc3339
from bus.wsbridge.payloads import message_of
from bus.wsbridge.steps import Given
from bus.wsbridge.style import Wire

_Memo = dict[object, bytes]


class Rendering:
    """See the module. ``with_checksum``: book changes carry the checksum of the book."""

    def __init__(self, market: Market, *, with_checksum: bool = False) -> None:
        self._market = market
        self._with_checksum = with_checksum

    # ------------------------------------------------------------------ a new message

    def add(
        self,
        channels: Sequence[Channel[Any]],
        line: Line,
        tick: Tick,
        step: BookStep | None,
        *,
        new_epoch: bool,
    ) -> int:
        """Put a message that was just accepted on its channels; how many units were made."""
        if step is BookStep.SKIPPED:
            for channel in channels:
                self._add_hole(channel, tick.epoch, tick.seq, tick.seq, "feed", tick.pub_ts_ns)
            return 0
        memo: _Memo = {}
        made = 0
        reset: Any = "epoch" if new_epoch else None
        if step is BookStep.RESYNC and reset is None:
            reset = line.resync_reason
        if step is not None:
            tick = _as_change(tick, step, line)
        checksum: int | UnsetType = UNSET
        if step is not None and self._with_checksum:
            checksum = line.checksum()
        starts_anew = (new_epoch and line.is_state) or step is BookStep.RESYNC
        epoch, seq = tick.epoch, tick.seq
        alone = len(channels) == 1
        for channel in channels:
            channel.updates += 1
            is_conflated = channel.conflate_ns > 0
            if is_conflated:
                if line.is_state:
                    continue
                if line.is_delta:
                    _merge(channel, tick, reset)
                    continue
            if reset is not None:
                self._reset(channel, line, reset, tick)
            # Who joined before there was anything has not been told the epoch.
            names_epoch = new_epoch or not channel.epoch
            key = (channel.form, "epoch") if names_epoch else channel.form
            payload = None if alone else memo.get(key)
            wire = channel.wire
            if payload is None:
                style = channel.style
                data = message_of(
                    tick,
                    channel.topic,
                    depth=style.depth,
                    numbers=style.numbers,
                    snapshot=starts_anew,
                    with_epoch=names_epoch,
                    checksum=checksum,
                )
                payload = encode(data, wire.codec)
                if not alone:
                    memo[key] = payload
            if is_conflated:
                channel.waiting.append(Unit(payload, epoch, seq, seq))
                channel.waiting_bytes += len(payload)
                continue
            channel.epoch = epoch
            if wire.batched:
                channel.units.append(Unit(payload, epoch, seq, seq))
                continue
            frame_key = (key, wire.deflate)
            frame = None if alone else memo.get(frame_key)
            if frame is None:
                frame = wire.frame(payload)
                made += 1
                if not alone:
                    memo[frame_key] = frame
            channel.units.append(Unit(frame, epoch, seq, seq, True))
        return made

    def _reset(self, channel: Channel[Any], line: Line, reason: Any, tick: Tick) -> None:
        if not channel.wire.events:
            return
        payload = _reset_payload(channel, line, reason, tick)
        if channel.style.conflate_ms:
            channel.waiting.append(Unit(payload))
        else:
            channel.units.append(self.unit(channel, payload))

    def add_gap(self, channel: Channel[Any], gap: GapFound, now_ns: int) -> bool:
        """Put a hole in the place of the messages that are lost; False where nobody is told."""
        return self._add_hole(channel, gap.epoch, gap.from_seq, gap.to_seq, "bus", now_ns)

    def _add_hole(
        self,
        channel: Channel[Any],
        epoch: int,
        from_seq: int,
        to_seq: int,
        reason: Literal["bus", "feed"],
        now_ns: int,
    ) -> bool:
        if not channel.wire.events or (channel.topic.is_delta and channel.style.conflate_ms):
            return False
        message = Gap(
            topic=channel.topic.name,
            epoch=epoch_text(epoch),
            from_seq=from_seq,
            to_seq=to_seq,
            count=to_seq - from_seq + 1,
            reason=reason,
            timestamp=rfc3339(now_ns),
        )
        payload = encode(message, channel.wire.codec)
        if channel.style.conflate_ms:
            channel.waiting.append(Unit(payload, is_word=True))
        else:
            channel.units.append(self.unit(channel, payload, is_word=True))
        return True

    def unit(self, channel: Channel[Any], payload: bytes, *, is_word: bool = False) -> Unit:
        """An encoded message as a unit of the channel; ``is_word``: as in :class:`Unit`."""
        if channel.wire.batched:
            return Unit(payload, is_word=is_word)
        return Unit(channel.wire.frame(payload), is_frame=True, is_word=is_word)

    # ------------------------------------------------------------------ conflated channels

    def is_full(self, channel: Channel[Any]) -> bool:
        """Whether a lossless channel must be flushed before its time."""
        return channel.waiting_bytes >= MAX_WAITING_BYTES

    def close(self, channel: Channel[Any], line: Line) -> Callable[[int], list[Unit]]:
        """Make the units of the interval that is over.

        The function returned makes those of a client that came in the middle of it and knows so
        many updates (of a lossless topic: waiting messages) already.
        """
        if not channel.topic.is_lossless:
            maker = self._value_maker(channel, line)
            channel.units += maker(channel.sent_updates)
            channel.sent_updates = channel.updates
            channel.epoch = line.epoch
            channel.merge = None
            channel.reset_reason = ""
            return maker
        waiting, channel.waiting = channel.waiting, []
        channel.waiting_bytes = 0
        channel.sent_updates = channel.updates
        channel.epoch = line.epoch
        channel.units += _together(channel.wire, waiting)
        return lambda known: _together(channel.wire, waiting[known:])

    def waiting_units(self, channel: Channel[Any], known: int, wire: Wire) -> list[Unit]:
        """What waits on a lossless conflated channel, for a client that knows part of it."""
        return _together(wire, channel.waiting[known:])

    def _value_maker(self, channel: Channel[Any], line: Line) -> Callable[[int], list[Unit]]:
        """Makes the units that bring a client from so many updates to the present."""
        updates, epoch = channel.updates, channel.epoch
        merge, reason = channel.merge, channel.reset_reason

        def make(known: int) -> list[Unit]:
            if known == updates:
                return []
            payloads = self._present(channel, line, updates - known, epoch, merge, reason)
            units = [self.unit(channel, payload) for payload in payloads]
            if units:
                units[-1] = units[-1]._replace(epoch=line.epoch, first=line.seq, last=line.seq)
            return units

        return make

    def _present(
        self,
        channel: Channel[Any],
        line: Line,
        behind: int,
        epoch: int,
        merge: Merge | None,
        reset_reason: str,
    ) -> list[bytes]:
        tick = line.tick
        if tick is None:
            return []
        new_epoch = epoch not in (0, line.epoch)
        payloads: list[bytes] = []
        reason = "epoch" if new_epoch else reset_reason
        if reason and channel.wire.events:
            payloads.append(_reset_payload(channel, line, reason, tick))
        snapshot = new_epoch
        checksum: int | UnsetType = UNSET
        if channel.topic.is_delta:
            if self._with_checksum:
                checksum = line.checksum()
            if reason or merge is None:
                book = line.whole_book()
                if book is None or book.tick is None:
                    return []
                tick, snapshot = book.tick, True
            else:
                tick = msgspec.structs.replace(tick, body=merge.body())
        data = _message(
            channel,
            tick,
            snapshot=snapshot,
            with_epoch=new_epoch or not epoch,
            checksum=checksum,
            conflated=max(behind - 1, 0),
        )
        payloads.append(encode(data, channel.wire.codec))
        return payloads

    # ------------------------------------------------------------------ for one client

    def show(self, kept: Kept, given: Given, wire: Wire) -> bytes:
        """One encoded message of a run of past ones; empty when it is malformed."""
        style = given.style
        key = (given.topic.name, style.depth, style.numbers, wire.codec, given.snapshot,
               given.recovered, given.names_epoch, given.stale_age_ms)  # fmt: skip
        if kept.shown_as == key:
            return kept.shown
        tick = kept.tick
        if tick is None:
            return b""
        data = message_of(
            tick,
            given.topic,
            depth=style.depth,
            numbers=style.numbers,
            snapshot=given.snapshot,
            recovered=given.recovered,
            with_epoch=given.names_epoch,
            stale_age_ms=given.stale_age_ms,
        )
        kept.shown_as, kept.shown = key, encode(data, wire.codec)
        return kept.shown

    def latest(self, channel: Channel[Any], mark: Mark, client: Any) -> list[bytes]:
        """The present value for a client that has been spared what came since ``mark``."""
        line = self._market.lines.get(channel.topic.bus_key)
        if line is None or client not in channel.clients or channel.updates == mark.updates:
            return []
        if channel.style.conflate_ms:
            channel.newcomers[client] = channel.updates
        return self._present(channel, line, channel.updates - mark.updates, mark.epoch, None, "")

    def rebuilt(self, channel: Channel[Any], client: Any) -> list[bytes]:
        """A book from its beginning, for a client whose changes of it were dropped."""
        line = self._market.lines.get(channel.topic.bus_key)
        if line is None or client not in channel.clients:
            return []
        if channel.style.conflate_ms:
            channel.newcomers[client] = channel.updates
        return self._present(channel, line, 0, line.epoch, None, "slow_client")


def _message(channel: Channel[Any], tick: Tick, **options: Any) -> DataMessage:
    style = channel.style
    return message_of(tick, channel.topic, depth=style.depth, numbers=style.numbers, **options)


def _reset_payload(channel: Channel[Any], line: Line, reason: Any, tick: Tick) -> bytes:
    message = Reset(
        topic=channel.topic.name,
        epoch=epoch_text(line.epoch),
        reason=reason,
        timestamp=rfc3339(tick.pub_ts_ns),
    )
    return encode(message, channel.wire.codec)


def _as_change(tick: Tick, step: BookStep, line: Line) -> Tick:
    """A whole book that changes nothing, as a change without levels; others as they are."""
    body = tick.body
    assert isinstance(body, Depth), "depth lines carry Depth bodies"
    if step is not BookStep.NOTHING:
        return tick
    return msgspec.structs.replace(
        tick, body=Depth(body.last_venue_seq, body.last_venue_seq, [], [], False)
    )


def _merge(channel: Channel[Any], tick: Tick, reset: str | None) -> None:
    """Take one more change of a book into the interval."""
    body = tick.body
    assert isinstance(body, Depth), "depth lines carry Depth bodies"
    if reset is not None:
        channel.reset_reason = reset
    if channel.merge is None:
        channel.merge = Merge(body.first_venue_seq, body.last_venue_seq)
    channel.merge.add(body)


def _together(wire: Wire, waiting: list[Unit]) -> list[Unit]:
    """Messages that waited: one array where the wire has arrays, else one after the other."""
    if wire.batched:
        return list(waiting)
    if not wire.arrays or len(waiting) < 2:
        return [u._replace(data=wire.frame(u.data), is_frame=True) for u in waiting]
    units: list[Unit] = []
    start = 0
    for index in range(1, len(waiting) + 1):
        if index == len(waiting) or _stands_apart(waiting[start:index], waiting[index]):
            units.append(_array(wire, waiting[start:index]))
            start = index
    return units


def _array(wire: Wire, group: list[Unit]) -> Unit:
    if len(group) == 1:
        return group[0]._replace(data=wire.frame(group[0].data), is_frame=True)
    payload = array_of([unit.data for unit in group], binary=wire.is_binary)
    frame = wire.frame(payload, always_deflate=True)
    marked = [unit for unit in group if unit.last]
    if not marked:
        return Unit(frame, is_frame=True)
    return Unit(frame, marked[0].epoch, marked[0].first, marked[-1].last, is_frame=True)


def _stands_apart(group: list[Unit], one: Unit) -> bool:
    """Whether a message does not belong into the array of those before it, for what is told of an
    array that is dropped: a range of one epoch, and every word."""
    if one.is_word or group[-1].is_word:
        return True
    return bool(one.last) and any(unit.last and unit.epoch != one.epoch for unit in group)
