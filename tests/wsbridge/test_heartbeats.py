"""Heartbeats of a crowd: spread over the interval, in handfuls, encoded once for who shares one."""

from __future__ import annotations

from collections import Counter

from bus.wsbridge.heartbeats import AT_ONCE, Heartbeats
from tests.wsbridge.makers import SECOND_NS, T0_NS, FakeClient, full, make_bridge

TURN_NS = 50_000_000


def test_a_crowd_that_came_together_is_spread_over_the_interval_for_good() -> None:
    bridge, _ = make_bridge()
    fanout = bridge.fanout
    fresh = Heartbeats(bridge.heartbeats._health, fanout.lag.p99_us, fanout.faults)
    bridge.heartbeats.first_share = fresh.first_share
    clients = [full(bridge, "/ws/v1/?heartbeat_ms=1000") for _ in range(200)]
    in_turn: Counter[int] = Counter()
    for turn in range(1, 101):
        while bridge.sweep(T0_NS + turn * TURN_NS):
            pass
        for client in clients:
            in_turn[turn] += len(client.take())
    assert sum(in_turn[turn] for turn in range(1, 21)) == 200, "everybody's first within a second"
    assert max(in_turn.values()) < 40, "10 a turn in the mean"
    numbers = {client.heartbeats for client in clients}
    assert numbers <= {4, 5}, "an interval of a second, in turns of 50 ms"


def test_those_that_are_due_together_come_in_handfuls_and_share_the_frame() -> None:
    bridge, _ = make_bridge()
    blobs: list[bytes] = []

    class Listener(FakeClient):
        def write(self, blob: bytes) -> None:
            blobs.append(blob)

    for _ in range(2 * AT_ONCE + 1):
        bridge.opened(Listener(bridge, "/ws/v1/?heartbeat_ms=1000"), T0_NS)
    blobs.clear()
    sizes = []
    is_more = True
    while is_more:
        is_more = bridge.sweep(T0_NS + SECOND_NS)
        sizes.append(len(blobs))
    assert sizes == [AT_ONCE, 2 * AT_ONCE, 2 * AT_ONCE + 1]
    assert len({id(blob) for blob in blobs[:AT_ONCE]}) == 1, "one frame for all of a handful"
    assert not bridge.sweep(T0_NS + SECOND_NS)
