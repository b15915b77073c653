"""What is put together for one client's socket: in order, in frames, and no more than a helping."""

from __future__ import annotations

from bus.wsbridge.channels import Unit
from bus.wsbridge.helping import HELPING_BYTES, HELPING_MESSAGES, Helping
from bus.wsbridge.style import Wire
from tests.wsbridge.makers import split_frames


def test_messages_are_frames_of_their_own_unless_the_client_batches() -> None:
    frame = Wire().frame(b"[2]")
    for wire, expected in (
        (Wire(), [b"[1]", b"[2]", b"[3]", b"[4]"]),
        (Wire(batched=True), [b"[1]", b"[2]", b"[[3],[4]]"]),
    ):
        helping = Helping(wire)
        helping.add([b"[1]"])
        assert helping.add_units([Unit(frame, is_frame=True), Unit(b"[3]")]) == 2
        helping.add([b"[4]"])
        assert split_frames(helping.blob()) == expected
    assert Helping(Wire()).blob() == b""


def test_it_is_full_at_so_many_messages_or_bytes() -> None:
    helping = Helping(Wire())
    assert helping.room == HELPING_MESSAGES
    assert helping.add_units([Unit(b"{}")] * 100) == HELPING_MESSAGES
    assert (helping.room, helping.add_units([Unit(b"{}")])) == (0, 0)
    helping.add([b"{}"])
    assert len(split_frames(helping.blob())) == HELPING_MESSAGES + 1
    helping = Helping(Wire())
    long = Unit(Wire().frame(b"x" * (HELPING_BYTES // 2)), is_frame=True)
    assert helping.add_units([long] * 5) == 2
    assert helping.room == 0
