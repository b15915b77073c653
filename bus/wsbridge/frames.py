"""WebSocket frames that many clients share, made by hand.

RFC 6455, section 5.2: FIN and opcode, then the length in 7, 16 or 64 bits; a server's frames are
not masked. Only unfragmented text frames are made here; control frames belong to the library.
"""

from __future__ import annotations

_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """One complete text frame around ``payload``, which must be UTF-8."""
    length = len(payload)
    if length < 126:
        return bytes((_TEXT, length)) + payload
    if length < 65536:
        return bytes((_TEXT, 126, length >> 8, length & 0xFF)) + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
