"""The page in a real browser: headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from bus.client import Publisher
from bus.clock import now_ns
from bus.model import News, OrderBook, Price, Status, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from tests.wsbridge.access.tokens import JWT, SECRET, jwt_of, now_s, token
from tests.wsbridge.browser import Browser, chromium
from tests.wsbridge.conftest import StartServer

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


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path) as tab:
        yield tab


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
async def test_the_page_goes_from_a_server_that_leaves_to_the_next_without_a_break(
    start_server: StartServer, publisher: Publisher, browser: Browser
) -> None:
    old = await start_server("bridge.drain_s=5")
    writer = publisher.writer(Topic.md("price", "sim", "BTC-USDT"))

    def publish(price: float) -> None:
        writer.publish(Price(price), venue_ts_ns=None, recv_ts_ns=now_ns())

    publish(61_000.0)
    state = "document.getElementById('state')"
    last = "document.getElementById('detail-last').textContent"
    await browser.do("Page.navigate", url=old.http_url + "/")
    await browser.shows(f"{state}.textContent.startsWith('Connected') && {last}.startsWith('61,')")
    await browser.evaluate(
        f"window.states = []; new MutationObserver(() => states.push({state}.textContent))"
        f".observe({state}, {{ subtree: true, childList: true, attributes: true }})"
    )
    drained = asyncio.create_task(old.server.drain())
    await eventually(lambda: old.server.is_draining)
    new = await start_server(f"bridge.port={old.port}")
    await drained
    assert new.server.client_count == 1
    publish(62_000.0)
    await browser.shows(f"{last}.startsWith('62,')")
    assert all(text.startswith("Connected") for text in await browser.evaluate("states"))
    assert browser.complaints == []


@pytest.mark.browser
async def test_nothing_on_the_page_looks_fresh_while_its_feed_is_down(
    start_server: StartServer, publisher: Publisher, browser: Browser
) -> None:
    running = await start_server()
    feed = publisher.writer(Topic.status("binance"))
    price = publisher.writer(Topic.md("price", "sim", "BTC-USDT"))

    def say(state: Literal["live", "down"]) -> None:
        feed.publish(Status(state, "test", now_ns()), venue_ts_ns=None, recv_ts_ns=now_ns())
        if state == "live":
            price.publish(Price(61_000.0, 5.0, 0.1), venue_ts_ns=None, recv_ts_ns=now_ns())

    badge = "document.getElementById('state')"
    detail = "document.getElementById('detail')"
    source = "document.getElementById('detail-source').textContent"
    last = "document.getElementById('detail-last')"
    looks_up = f"getComputedStyle({last}).color === 'rgb(53, 196, 141)'"
    say("live")
    await browser.do("Page.navigate", url=running.http_url + "/")
    for _ in range(2):
        await browser.shows(
            f"{badge}.textContent === 'Connected' && {detail}.dataset.state === 'live'"
        )
        await browser.shows(f"{source} === 'simulated' && {looks_up}")
        say("down")
        await browser.shows(f"{badge}.textContent === 'Connected, but binance is down'")
        await browser.shows(f"{badge}.dataset.state === 'degraded'")
        await browser.shows(f"{source} === 'simulated, down' && !({looks_up})")
        say("live")
    assert browser.complaints == []


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
    await browser.shows(f"{form}.hidden && {state}.startsWith('Connected')")
    await browser.shows("document.getElementById('detail-last').textContent.startsWith('61,')")
    assert await browser.evaluate(kept) == good
    places = "document.cookie + JSON.stringify(localStorage) + location.href"
    assert good not in await browser.evaluate(places)
    assert await browser.evaluate("document.getElementById('token').value") == ""

    await browser.do("Page.reload")
    await browser.shows(f"document.readyState === 'complete' && {state}.startsWith('Connected')")
    assert await browser.evaluate(f"{form}.hidden") is True
    assert browser.complaints == []
