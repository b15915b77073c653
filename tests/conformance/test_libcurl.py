"""libcurl as a client: WebSocket in C, by people who share nothing with the bridge."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import msgspec
import pytest

from bus.model import Trade
from bus.testing import eventually
from bus.wsbridge.messages import CloseCode
from tests.conformance.conftest import BridgeProcess, Feed, StartBridge
from tests.wsbridge.schema import check_message

curl_cffi = pytest.importorskip("curl_cffi", reason="libcurl for Python is not installed")

CLOSE_FLAG = 1 << 3
TICKS = 500


class LibcurlClient:
    """A connection whose messages are read by another thread, as libcurl blocks."""

    def __init__(self, bridge: BridgeProcess, subprotocol: str) -> None:
        self.subprotocol = subprotocol
        headers = {"Sec-WebSocket-Protocol": subprotocol}
        self.ws = curl_cffi.WebSocket()
        self.ws.connect(f"{bridge.ws_url}/ws/v1/", headers=headers)

    @property
    def codec(self) -> Any:
        return msgspec.msgpack if self.subprotocol.endswith("msgpack") else msgspec.json

    def say(self, **request: Any) -> None:
        if self.codec is msgspec.msgpack:
            self.ws.send_binary(self.codec.encode(request))
        else:
            self.ws.send_str(self.codec.encode(request).decode())

    def next(self) -> dict[str, Any]:
        data, flags = self.ws.recv()
        if flags & CLOSE_FLAG:
            return {"type": "closed", "code": struct.unpack("!H", data[:2])[0]}
        message: dict[str, Any] = self.codec.decode(data)
        check_message(message)
        return message

    def until(self, kind: str) -> list[dict[str, Any]]:
        found = [self.next()]
        while found[-1]["type"] != kind:
            found.append(self.next())
        return found


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_it_gets_every_tick_in_order_and_the_close_code(
    start_bridge: StartBridge, feed: Feed, codec: str
) -> None:
    bridge = await start_bridge()
    client = await asyncio.to_thread(LibcurlClient, bridge, f"mdbus.v1.{codec}")
    try:
        (greeting,) = await asyncio.to_thread(client.until, "connection")
        assert greeting["codec"] == codec
        await asyncio.to_thread(client.say, action="subscribe", topics=["trades.ETH"], id=1)
        await asyncio.to_thread(client.until, "snapshot_end")
        first = feed.say("trades", "ETH-USDT", Trade(1.0, 1.0))
        for number in range(1, TICKS):
            feed.say("trades", "ETH-USDT", Trade(1.0, float(number)))

        def read_all() -> list[int]:
            seqs: list[int] = []
            while len(seqs) < TICKS:
                message = client.next()
                if message["type"] == "trade":
                    seqs.append(message["seq"])
            return seqs

        seqs = await asyncio.wait_for(asyncio.to_thread(read_all), 20)
        assert seqs == list(range(first, first + TICKS))
        bridge.process.terminate()
        ended = await asyncio.wait_for(asyncio.to_thread(client.until, "closed"), 20)
        assert ended[-1]["code"] == CloseCode.DRAINING
        assert any(m.get("status") == "draining" for m in ended)
    finally:
        if not client.ws.closed:
            client.ws.terminate()
    await eventually(lambda: bridge.process.poll() == 0, 20)
