"""Reading from a WebSocket client in tests, always with a deadline."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.wsbridge.schema import check_message


async def said(client: ClientConnection) -> dict[str, Any]:
    """The next message."""
    data = await asyncio.wait_for(client.recv(), 10)
    message: dict[str, Any] = (
        json.loads(data) if isinstance(data, str) else msgspec.msgpack.decode(data)
    )
    check_message(message)
    return message


async def until(client: ClientConnection, kind: str) -> dict[str, Any]:
    """The next message of a type, skipping others."""
    while True:
        message = await said(client)
        if message["type"] == kind:
            return message


async def end_of(client: ClientConnection) -> tuple[int, str]:
    """The close code and reason, once everything else was read."""
    while True:
        try:
            await asyncio.wait_for(client.recv(), 10)
        except ConnectionClosed as closed:
            end = closed.rcvd
            break
    assert end is not None, "closed without a close frame"
    return end.code, end.reason
