"""One message for many: encoded once a codec, framed once a wire."""

from __future__ import annotations

import msgspec

from bus.wsbridge.messages import TopicStatus
from bus.wsbridge.notices import Notice
from bus.wsbridge.style import Wire
from tests.wsbridge.makers import split_frames


def test_wires_of_a_codec_share_the_message_and_equal_wires_the_frame() -> None:
    notice = Notice(TopicStatus(topic="price.BTC", state="live", timestamp="t"))
    plain, again, eventful = (notice.on(wire) for wire in (Wire(), Wire(), Wire(events=True)))
    binary = notice.on(Wire(codec="msgpack"))
    assert plain is again
    assert plain.payload is eventful.payload
    assert split_frames(plain.frame) == [plain.payload]
    assert split_frames(binary.frame, is_binary=True) == [binary.payload]
    assert msgspec.json.decode(plain.payload) == msgspec.msgpack.decode(binary.payload)
