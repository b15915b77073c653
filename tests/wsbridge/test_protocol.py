"""The library's protocol as we want it; above all, that nothing of it outlives its connection."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
from websockets.http11 import Request

from bus.wsbridge.protocol import Protocol

HEAD = (
    b"GET /ws/v1/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def upgraded(extra: bytes = b"", *, compresses: bool = False) -> tuple[Protocol, bytes]:
    """A protocol that has accepted a handshake, and its answer."""
    protocol = Protocol(max_bytes=100, compresses=compresses, logger=logging.getLogger("test"))
    protocol.receive_data(HEAD + extra + b"\r\n")
    (request,) = protocol.events_received()
    assert isinstance(request, Request)
    protocol.send_response(protocol.accept(request))
    return protocol, b"".join(protocol.data_to_send())


def test_a_known_subprotocol_is_chosen_and_an_unknown_one_no_reason_to_refuse() -> None:
    _, answer = upgraded(b"Sec-WebSocket-Protocol: chat, mdbus.v1.json\r\n")
    assert b"Sec-WebSocket-Protocol: mdbus.v1.json\r\n" in answer
    _, answer = upgraded(b"Sec-WebSocket-Protocol: chat\r\n")
    assert b" 101 " in answer
    assert b"Sec-WebSocket-Protocol" not in answer


@pytest.mark.parametrize(
    ("offered", "compresses", "deflates"),
    [
        (b"permessage-deflate; client_max_window_bits", True, True),
        (b"permessage-deflate; client_max_window_bits", False, False),
        (b"permessage-deflate; server_max_window_bits=9", True, False),
    ],
)
def test_shared_compressed_frames_are_for_who_agreed_to_their_window(
    offered: bytes, compresses: bool, deflates: bool
) -> None:
    extension = b"Sec-WebSocket-Extensions: " + offered + b"\r\n"
    protocol, _ = upgraded(extension, compresses=compresses)
    assert protocol.deflates is deflates


def test_it_closes_with_words_of_ours() -> None:
    protocol, _ = upgraded()
    protocol.receive_data(b"\x81\xfe\x01\x00" + bytes(4) + b"x" * 256)
    assert b"\x03\xf1message_too_big" in b"".join(protocol.data_to_send())


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"\x81\x82\0\0\0\0{}",
        b"\x81\x82\0\0",
        b"\x83\x80\0\0\0\0",
        b"\x88\x82\0\0\0\0\x03\xe8",
        b"\x81\xfe\x01\x00" + bytes(260),
        b"\x81\x81\0\0\0\0\xff",
    ],
    ids=["nothing", "message", "half", "opcode", "close", "too big", "no UTF-8"],
)
def test_nothing_is_left_to_the_garbage_collector(received: bytes) -> None:
    protocol, _ = upgraded()
    gc.collect()
    gc.disable()
    try:
        if received:
            protocol.receive_data(received)
        protocol.events_received()
        protocol.receive_eof()
        protocol.data_to_send()
        protocol.let_go()
        gone = weakref.ref(protocol)
        del protocol
        assert gone() is None
    finally:
        gc.enable()
