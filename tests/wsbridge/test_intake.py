"""Bytes on their way to the protocol: all of them, in order, and the request by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.intake import SLICE_BYTES, Intake

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@given(st.binary(max_size=20_000), st.lists(st.integers(1, 9_000), max_size=20))
def test_whatever_the_pieces_every_byte_comes_once_and_the_request_alone(
    frames: bytes, sizes: list[int]
) -> None:
    sent, intake, slices = HEAD + frames, Intake(), []
    rest = sent
    for size in [*sizes, len(sent)]:
        intake.add(rest[:size])
        rest = rest[size:]
        if intake:
            slices.append(intake.next_slice())
    while intake:
        slices.append(intake.next_slice())
    assert b"".join(slices) == sent
    assert all(0 < len(one) <= SLICE_BYTES for one in slices)
    seen = b""
    while len(seen) < len(HEAD):
        seen += slices.pop(0)
    assert seen == HEAD


def test_what_waits_is_forgotten_when_the_connection_is_lost() -> None:
    intake = Intake()
    intake.add(b"x" * 10_000)
    intake.clear()
    assert not intake
    assert intake.next_slice() == b""
