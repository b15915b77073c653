"""A real browser: headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from bus.testing import eventually

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1440,900",
]  # fmt: skip


class Browser:
    """One tab of a headless browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = 0
        self.complaints: list[str] = []

    async def do(self, method: str, **params: Any) -> dict[str, Any]:
        self._ids += 1
        number = self._ids
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(await asyncio.wait_for(self._connection.recv(), 20))
            if message.get("id") == number:
                result: dict[str, Any] = message.get("result", message)
                return result
            if message.get("method") == "Runtime.exceptionThrown" or (
                message.get("method") == "Log.entryAdded"
                and message["params"]["entry"]["level"] == "error"
                and "WebSocket" not in message["params"]["entry"]["text"]
            ):
                self.complaints.append(json.dumps(message["params"]))

    async def evaluate(self, expression: str) -> Any:
        result = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def shows(self, expression: str, timeout_s: float = 15) -> None:
        """Wait until a JavaScript expression is true on the page."""

        async def is_true() -> bool:
            guarded = f"(() => {{ try {{ return {expression} }} catch {{ return false }} }})()"
            return bool(await self.evaluate(guarded))

        await eventually(is_true, timeout_s, expression)


def start_chromium(found: str, home: Path, stderr: Path) -> subprocess.Popen[bytes]:
    with stderr.open("wb") as log:
        return subprocess.Popen(
            [found, *FLAGS, f"--user-data-dir={home / 'profile'}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "HOME": str(home)},
        )


@asynccontextmanager
async def chromium(home: Path) -> AsyncIterator[Browser]:
    """A browser whose files are in ``home``; the test is skipped where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed")
    stderr = home / "stderr"
    process = start_chromium(found, home, stderr)
    try:
        pattern = re.compile(r"ws://(127\.0\.0\.1:\d+)/devtools")
        match = await eventually(lambda: pattern.search(stderr.read_text()), 20, "Chromium listens")
        async with httpx.AsyncClient() as http:
            tabs = (await http.get(f"http://{match[1]}/json")).json()
        url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        async with connect(url, max_size=None, ping_interval=None) as connection:
            tab = Browser(connection)
            for domain in ("Page", "Runtime", "Log"):
                await tab.do(f"{domain}.enable")
            yield tab
    finally:
        process.terminate()
        process.wait(10)
