"""Frames made by hand equal those of the library."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from bus.wsbridge.frames import text_frame


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65535, 65536, 200_000])
def test_a_text_frame_is_byte_for_byte_the_librarys(length: int) -> None:
    payload = b"x" * length
    assert text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
