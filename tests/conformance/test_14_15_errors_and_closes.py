"""Points 14 and 15: every error code and every close code is reachable, and none leaks anything."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bus.clock import now_ns
from bus.model import OrderBook, Status, Trade
from bus.model.topic import Topic
from bus.testing import eventually
from bus.wsbridge.messages import CLOSE_REASONS, ERRORS, CloseCode
from tests.conformance.conftest import Client, Feed, Join, StartBridge
from tests.conformance.workers import key_file
from tests.wsbridge.access.tokens import SECRET, token

ELSEWHERE = {"unauthorized", "token_expired", "forbidden", "rate_limited"}
"""Of tokens and rates: see points 17 and 19."""
CLOSES_ELSEWHERE = {
    CloseCode.TOKEN_EXPIRED, CloseCode.MAX_AGE, CloseCode.RATE_LIMITED, CloseCode.TIMED_OUT,
    CloseCode.UNAUTHORIZED, CloseCode.FORBIDDEN, CloseCode.CONNECTION_LIMIT, CloseCode.REPLACED,
    CloseCode.KICKED,
}  # fmt: skip
HANDLED_HERE = {"slow_consumer", "feed_down", "internal"}

REQUESTS: list[tuple[str, Any]] = [
    ("bad_json", "nonsense"),
    ("bad_request", {"action": "subscribe"}),
    ("unknown_action", {"action": "explode"}),
    ("unsupported", {"action": "replay"}),
    ("symbol_unknown", {"action": "snapshot", "symbols": ["NOPE"]}),
    ("stream_unknown", {"action": "snapshot", "topics": ["candles.BTC"]}),
    ("category_unknown", {"action": "snapshot", "topics": ["news.sports"]}),
    ("not_subscribed", {"action": "unsubscribe", "symbols": ["BTC"]}),
    ("limit_depth", {"action": "subscribe", "topics": ["orderbook.BTC"], "depth": 999}),
]


@pytest.mark.parametrize(("code", "request_sent"), REQUESTS)
async def test_14_error_codes_of_requests(
    code: str, request_sent: Any, start_bridge: StartBridge, join: Join
) -> None:
    client = await join(await start_bridge())
    if isinstance(request_sent, str):
        await client.ws.send(request_sent)
    else:
        await client.say(**request_sent)
    _check(await client.until("error"), code)


def _check(error: dict[str, Any], code: str) -> None:
    kind = ERRORS[code]
    assert (error["code"], error["status"], error["retryable"]) == (
        code, kind.status, kind.retryable,
    )  # fmt: skip
    text = error["message"]
    assert "Traceback" not in text
    assert ".py" not in text
    assert "/" not in text


async def test_14_error_codes_of_limits_feeds_and_fixed_endpoints(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    bridge = await start_bridge("max_subscriptions = 2")
    client = await join(bridge)
    await client.say(action="subscribe", symbols=["BTC", "ETH", "SOL"])
    assert (await client.until("subscription"))["rejected"][0]["code"] == "limit_subscriptions"
    await client.say(action="subscribe", topics=["price.*"])
    assert (await client.until("subscription"))["rejected"][0]["code"] == "limit_wildcards"
    fixed = await join(bridge, "/ws/market/BTC/price/")
    await fixed.say(action="subscribe", symbols=["ETH"])
    _check(await fixed.until("error"), "fixed_subscription")
    feed.say_on(Topic.status("finnhub"), Status("down", "exited", now_ns()))

    async def is_down() -> bool:
        await client.say(action="snapshot", topics=["trades.GOOGL"])
        while (message := await client.next())["type"] != "snapshot_end":
            if message["type"] == "error":
                _check(message, "feed_down")
                assert message["retry_after_ms"] > 0
                return True
        return False

    await eventually(is_down)
    feed.say_on(Topic.status("finnhub"), Status("live", "data", now_ns()))


def test_14_no_error_code_is_forgotten() -> None:
    here = {code for code, _ in REQUESTS} | HANDLED_HERE
    here |= {"limit_subscriptions", "limit_wildcards", "fixed_subscription"}
    assert here | ELSEWHERE == set(ERRORS)


async def _end(client: Client) -> tuple[int, str]:
    """The end, after the last word, which says the same and obeys the rule of reconnecting."""
    words: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            words.append(await client.next())
    code, reason = client.ws.close_code, client.ws.close_reason
    assert code is not None
    closing = [word for word in words if word.get("status") == "closing"]
    if closing:
        assert closing[-1] is words[-1], "nothing after the last word"
        assert (closing[-1]["code"], closing[-1]["reason"]) == (code, reason)
        stays_away = code in (1000, 1002, 1003, 1007) or 4500 <= code <= 4999
        assert closing[-1]["reconnect"] is not stays_away
    return code, reason or ""


async def test_15_close_codes_of_what_a_client_does(start_bridge: StartBridge, join: Join) -> None:
    bridge = await start_bridge("ping_interval_s = 1.0", "ping_timeout_s = 1.0")
    reached: dict[int, str] = {}

    async def ended(client: Client) -> None:
        code, reason = await _end(client)
        reached[code] = reason

    one = await join(bridge, "/ws/market/BTC/price/")
    await one.say(action="unsubscribe")
    await ended(one)
    two = await join(bridge)
    await two.ws.send(b"\x80")
    await ended(two)
    binary = await join(bridge, codec="msgpack")
    await binary.ws.send("{}")
    await ended(binary)
    bad = await join(bridge)
    await bad.ws.send(b"\xff\xfe", text=True)
    await ended(bad)
    long = await join(bridge)
    await long.ws.send("x" * 65_537)
    await ended(long)
    wrong = await join(bridge)
    for _ in range(10):
        await wrong.ws.send("nonsense")
    await ended(wrong)
    await ended(await join(bridge, "/ws/market/NOPE/price/"))
    await ended(await join(bridge, "/ws/v1/?codec=xml"))
    assert reached == {
        1000: "bye", 1003: "wrong_frame_kind", 1007: "bad_utf8", 1009: "message_too_big",
        4500: "bad_request", 4506: "unknown_stream", 4507: "unsupported_codec",
    }  # fmt: skip


async def test_15_close_codes_of_time_slowness_and_the_server(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    bridge = await start_bridge(
        "ping_interval_s = 1.0", "ping_timeout_s = 1.0", "drain_s = 0.2",
        "send_buffer_bytes = 16384", "pressure_bytes = 16384", "max_buffered_bytes = 65536",
    )  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
    writer.write(
        b"GET /ws/v1/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    received = b""
    while b"\x0f\xa3" not in received:  # 4003: it never answers a ping
        data = await asyncio.wait_for(reader.read(65_536), 20)
        assert data
        received += data
    writer.close()
    slow = await join(bridge, ping_interval=None)
    await slow.say(action="subscribe", topics=["trades.BTC"])
    await slow.until("snapshot_end")
    slow.ws.transport.pause_reading()

    def is_closed() -> bool:
        for _ in range(200):
            feed.say("trades", "BTC-USDT", Trade(1.0, 1.0))
        return "slow client closed" in bridge.log.read_text()

    await eventually(is_closed, 20, "the slow client was given up")
    slow.ws.transport.resume_reading()
    words = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            words.append(await slow.next())
    if slow.ws.close_code != 1006:  # it had five seconds to read up to the close frame
        assert slow.ws.close_code == 4002
        _check(next(word for word in words if word["type"] == "error"), "slow_consumer")
    staying = await join(bridge)
    await staying.until("connection")
    bridge.process.send_signal(signal.SIGTERM)
    await staying.until("connection", status="draining")
    assert await _end(staying) == (4001, "draining")
    bridge.process.wait(15)
    assert bridge.process.returncode == 0


def test_15_no_close_code_is_forgotten() -> None:
    here = {1000, 1003, 1007, 1011, 4500, 4506, 4507, 4001, 4002, 4003}
    elsewhere = {int(code) for code in CLOSES_ELSEWHERE}
    assert here | elsewhere == {int(code) for code in CLOSE_REASONS}
    for code in CLOSE_REASONS:
        assert len(CLOSE_REASONS[code].encode()) <= 123


async def test_15_what_is_no_websocket_at_all_ends_with_1002(
    start_bridge: StartBridge, join: Join
) -> None:
    bridge = await start_bridge()
    async with connect(f"{bridge.ws_url}/ws/v1/") as ws:
        ws.transport.write(b"\xff" * 20)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(ws.recv(), 20)
        assert ws.close_code == 1002
    client = await join(bridge)
    await client.say(action="ping", id=1)
    await client.until("pong", id=1)


async def test_15_a_failure_of_ours_closes_1011_and_lets_nobody_in(
    run_dir: Path, start_bridge: StartBridge, join: Join
) -> None:
    """Tokens cannot be checked while the deny list cannot be read; with it they can again."""
    denied = run_dir / "denied"
    denied.write_text("")
    bridge = await start_bridge(
        'auth = "jwt"',
        tables=f'[bridge.access]\nmessage_auth = "everyone"\ndeny_list = "{denied}"\n'
        f'[bridge.access.keys]\nmain = "{key_file(run_dir, SECRET)}"\n',
    )
    denied.unlink()
    refused: list[dict[str, Any]] = []

    async def is_refused() -> bool:
        client = await join(bridge)
        await client.until("connection", status="auth_required")
        await client.say(action="auth", token=token("u"), id=1)
        answer = await client.next()
        refused.append(answer)
        if answer["type"] == "error":
            assert await _end(client) == (1011, "internal")
        return bool(answer["type"] == "error")

    await eventually(is_refused, 20, "the bridge has noticed")
    assert (refused[-1]["code"], refused[-1]["retryable"]) == ("internal", True)
    assert refused[-1]["retry_after_ms"] > 0
    assert str(denied) not in str(refused[-1])
    denied.write_text("")

    async def is_let_in() -> bool:
        return not await is_refused()

    await eventually(is_let_in, 20, "the list can be read again")
    assert refused[-1]["status"] == "connected"


async def test_15_books_do_not_close_a_slow_client(
    start_bridge: StartBridge, feed: Feed, join: Join
) -> None:
    """State topics never count against the limit: they are marks."""
    bridge = await start_bridge(
        "send_buffer_bytes = 16384", "pressure_bytes = 16384", "max_buffered_bytes = 65536",
        "stuck_s = 60.0",
    )  # fmt: skip
    client = await join(bridge, ping_interval=None)
    await client.say(action="subscribe", topics=["orderbook.ETH"])
    await client.until("snapshot_end")
    client.ws.transport.pause_reading()
    watcher = await join(bridge)
    await watcher.say(action="subscribe", topics=["orderbook.ETH"])
    await watcher.until("snapshot_end")
    levels = [(float(n), 1.0) for n in range(20)]
    for _ in range(60):
        for _ in range(50):
            last = feed.say("orderbook", "ETH-USDT", OrderBook(1, levels, levels))
        await watcher.until("orderbook", seq=last)
    client.ws.transport.resume_reading()
    await client.until("status", scope="connection", state="conflating")
    final = await client.until("orderbook", seq=last)
    assert final["conflated"] > 0
    await client.until("status", scope="connection", state="resumed")
