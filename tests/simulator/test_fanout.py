"""Who gets what, and what faults do on the way."""

from __future__ import annotations

from typing import cast

from bus.simulator.clients import Client
from bus.simulator.fanout import Fanout
from bus.simulator.faults import Faults


class Listener:
    """Stands where a client would."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def push(self, message: bytes) -> bool:
        self.heard.append(message)
        return True

    def as_client(self) -> Client:
        return cast(Client, self)


def test_a_message_goes_to_those_who_take_the_stream() -> None:
    fanout, one, other = Fanout(Faults()), Listener(), Listener()
    fanout.subscribe(one.as_client(), "BTC-USD@matches")
    fanout.subscribe(other.as_client(), "ETH-USD@matches")
    fanout.publish("BTC-USD@matches", 0, b"m")
    assert (one.heard, other.heard) == ([b"m"], [])
    assert fanout.stream_count == 2


def test_who_leaves_gets_nothing_and_streams_nobody_takes_are_forgotten() -> None:
    fanout, one = Fanout(Faults()), Listener()
    for stream in ("a@x", "b@x", "c@x"):
        fanout.subscribe(one.as_client(), stream)
    fanout.unsubscribe(one.as_client(), "a@x")
    fanout.unsubscribe(one.as_client(), "nothing@x")
    assert (fanout.wants("a@x"), fanout.wants("b@x")) == (False, True)
    fanout.leave(one.as_client())
    fanout.publish("b@x", 0, b"m")
    assert (fanout.stream_count, one.heard) == (0, [])


def test_faults_of_diffs_and_silence_are_in_the_way() -> None:
    faults = Faults()
    fanout, one = Fanout(faults), Listener()
    fanout.subscribe(one.as_client(), "BTC/USD@book-10")
    faults.arm_diff("swap_diff", "BTC/USD", 1)
    for text in (b"1", b"2", b"3"):
        fanout.publish("BTC/USD@book-10", 0, text, is_diff=True)
    faults.silence("BTC/USD@book-10", 5)
    fanout.publish("BTC/USD@book-10", 4, b"4", is_diff=True)
    fanout.publish("BTC/USD@book-10", 5, b"5", is_diff=True)
    assert one.heard == [b"2", b"1", b"3", b"5"]
