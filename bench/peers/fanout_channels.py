"""Django Channels with its Redis layer, as a Django project pushes ticks; run by ``bench.fanout``.

As a module it is the ASGI application that daphne or uvicorn serves. As a program (arguments: the
Unix socket to take ticks on) it is the process that sends each tick to the group, and is not
counted. ``BENCH_REDIS`` names the Redis server's socket.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import django  # type: ignore[import-not-found]
from channels.generic.websocket import AsyncWebsocketConsumer  # type: ignore[import-untyped]
from channels.layers import get_channel_layer  # type: ignore[import-untyped]
from channels.routing import ProtocolTypeRouter, URLRouter  # type: ignore[import-untyped]
from django.conf import settings  # type: ignore[import-not-found]
from django.urls import path  # type: ignore[import-not-found]

from bench.peers.fanout_input import listen

GROUP = "ticks"

settings.configure(
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [f"unix://{os.environ['BENCH_REDIS']}"], "capacity": 1_000},
        }
    },
)
django.setup()


class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One client: joins the group, passes on what the group is sent."""

    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def tick(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


application = ProtocolTypeRouter({"websocket": URLRouter([path("", Consumer.as_asgi())])})


async def feed(input_path: str) -> None:
    layer = get_channel_layer()
    queue: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ticks(ticks: list[bytes]) -> None:
        for tick in ticks:
            queue.put_nowait(tick)

    inlet = await listen(input_path, on_ticks)
    print("listening", flush=True)
    while inlet.is_serving():
        text = (await queue.get()).decode()
        await layer.group_send(GROUP, {"type": "tick", "text": text})


if __name__ == "__main__":
    asyncio.run(feed(sys.argv[1]))
