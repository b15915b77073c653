"""The page in a real browser: headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from bus.client import Publisher
from bus.clock import now_ns
from bus.model import News, OrderBook, Price, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from tests.wsbridge.access.tokens import JWT, SECRET, jwt_of, now_s, token
from tests.wsbridge.conftest import StartServer

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1440,900",
]  # fmt: skip

OVERLAPS = """(() => {
  const panels = [...document.querySelectorAll('main > *')].filter((e) => e.offsetParent !== null);
  const found = [];
  panels.forEach((one, index) => panels.slice(index + 1).forEach((other) => {
    const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
    const across = a.left < b.right - 1 && b.left < a.right - 1;
    if (across && a.top < b.bottom - 1 && b.top < a.bottom - 1)
      found.push(one.className + ' / ' + other.className);
  }));
  return found.join(', ');
})()"""


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


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed")
    stderr = tmp_path / "stderr"
    process = start_chromium(found, tmp_path, stderr)
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


@pytest.mark.browser
async def test_the_page_shows_the_market_says_it_is_simulated_and_comes_back(
    start_server: StartServer, publisher: Publisher, browser: Browser, tmp_path: Path
) -> None:
    running = await start_server("bridge.drain_s=0.1")
    moved = 0
    loop = asyncio.get_running_loop()

    def publish() -> None:
        nonlocal moved
        moved += 1
        at = now_ns()
        price = 61_000.0 + moved
        for symbol in ("BTC-USDT", "ETH-USDT"):
            for stream, body in (
                ("price", Price(price, 12.5, 0.5, 1234.0)),
                ("trades", Trade(price, 0.25, "buy" if moved % 2 else "sell", moved)),
                ("orderbook", OrderBook(moved, [(price - 1, 2.0)], [(price + 1, 3.0)])),
            ):
                publisher.writer(Topic.md(stream, "sim", symbol)).publish(
                    body, venue_ts_ns=at, recv_ts_ns=at
                )
        if moved < 2000:
            loop.call_later(0.05, publish)

    publish()
    headline, bad_url = "<b>Bold</b> headline", "javascript:alert(1)"
    item = News("n1", headline, None, bad_url, None, "Wire", "crypto", [])
    publisher.writer(Topic.md("news", "sim", "crypto")).publish(
        item, venue_ts_ns=None, recv_ts_ns=now_ns()
    )
    await browser.do("Page.navigate", url=running.http_url + "/")
    text = "document.getElementById('{}').textContent"
    await browser.shows(f"{text.format('state')}.includes('Connected')")
    assert await browser.evaluate("document.getElementById('simulated').hidden") is False
    await browser.shows(f"{text.format('detail-last')}.startsWith('61,')")
    await browser.shows("document.querySelectorAll('#book .row').length === 2")
    await browser.shows("document.querySelectorAll('#tape li').length > 3")
    await browser.shows(f"{text.format('news')}.includes('<b>Bold</b> headline')")
    assert await browser.evaluate("document.querySelectorAll('#news a, #news b').length") == 0
    for width in (390, 800, 1400):
        await browser.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        assert await browser.evaluate(OVERLAPS) == "", f"panels overlap at {width} px"
    first = await browser.evaluate(text.format("detail-last"))
    await browser.shows(f"{text.format('detail-last')} !== '{first}'")
    await browser.evaluate("document.querySelectorAll('#prices button')[1].click()")
    await browser.shows(f"{text.format('detail-symbol')} === 'ETH'")
    await browser.shows("document.querySelectorAll('#book .row').length === 2")
    assert browser.complaints == []

    await running.server.drain()
    await running.server.close()
    await browser.shows(f"/retrying|Reconnecting/i.test({text.format('state')})")
    again = await start_server(f"bridge.port={running.port}")
    assert again.port == running.port
    await browser.shows(f"{text.format('state')}.includes('Connected')", 30)
    await browser.shows(f"{text.format('detail-symbol')} === 'ETH'")
    await browser.shows("document.querySelector('#prices tr').dataset.state === 'live'")
    moved = 2000


@pytest.mark.browser
async def test_the_page_asks_for_a_token_and_keeps_it_no_longer_than_its_tab(
    start_server: StartServer,
    publisher: Publisher,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MDBUS_TEST_KEY", SECRET)
    running = await start_server(*JWT, "bridge.drain_s=0.1")
    at = now_ns()
    publisher.writer(Topic.md("price", "sim", "BTC-USDT")).publish(
        Price(61_000.0), venue_ts_ns=at, recv_ts_ns=at
    )
    state = "document.getElementById('state').textContent"
    form = "document.getElementById('token-form')"
    kept = "sessionStorage.getItem('mdbus.token')"

    async def enter(text: str) -> None:
        await browser.evaluate(
            f"document.getElementById('token').value = {json.dumps(text)}; {form}.requestSubmit()"
        )

    await browser.do("Page.navigate", url=running.http_url + "/")
    await browser.shows(f"!{form}.hidden && {state}.includes('Waiting for a token')")
    assert await browser.evaluate("document.activeElement.id") == "token"
    assert await browser.evaluate("document.getElementById('token').type") == "password"
    await enter(
        jwt_of({"sub": "u", "exp": now_s() + 60}, secret="another secret, as long as it is")
    )
    await browser.shows(f"!{form}.hidden && {state}.includes('Waiting for a token')")
    await browser.shows("document.getElementById('token-note').textContent.length > 0")
    assert await browser.evaluate(kept) is None, "one that does not hold is not kept"
    good = token("u-1")
    await enter(good)
    await browser.shows(f"{form}.hidden && {state} === 'Connected'")
    await browser.shows("document.getElementById('detail-last').textContent.startsWith('61,')")
    assert await browser.evaluate(kept) == good
    places = "document.cookie + JSON.stringify(localStorage) + location.href"
    assert good not in await browser.evaluate(places)
    assert await browser.evaluate("document.getElementById('token').value") == ""

    await browser.do("Page.reload")
    await browser.shows(f"document.readyState === 'complete' && {state} === 'Connected'")
    assert await browser.evaluate(f"{form}.hidden") is True
    assert browser.complaints == []
