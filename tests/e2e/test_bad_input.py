"""Bad input at every door of a running bus: a clear word or a counted drop, and nothing stops."""

from __future__ import annotations

import json
import re
import socket
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import zmq
from websockets.asyncio.client import connect

from bus.client import Subscriber, Update
from bus.testing import eventually, wait_until
from tests.e2e.running_bus import RunningBus


def fault(bus: RunningBus, **parameters: str | int) -> None:
    """Ask the simulated Binance for a fault."""
    port = tomllib.loads(bus.config.read_text())["simulator"]["ports"]["binance"]
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/_sim/fault?{query}", timeout=5) as reply:
        assert reply.status == 200


def counters(bus: RunningBus, name: str) -> dict[str, Any]:
    found: dict[str, Any] = bus.process(name).get("counters", {})
    return found


def flows(bus: RunningBus, prefix: str = "md/trades/sim/") -> None:
    """Fail unless live messages arrive."""
    with Subscriber(f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
        subscriber.subscribe(prefix, snapshot=False)
        for _ in range(3):
            assert isinstance(subscriber.recv(10), Update)


@contextmanager
def zmq_socket(kind: int, endpoint: str) -> Iterator[zmq.Socket[bytes]]:
    """A plain socket of no library of ours."""
    with zmq.Context() as context, context.socket(kind) as plain:
        plain.linger = 0
        plain.connect(endpoint)
        yield plain


def nothing_restarted(bus: RunningBus) -> bool:
    return all(row["restarts"] == 0 for row in bus.status()["processes"])


@pytest.mark.parametrize(
    ("kind", "counter"), [("garbage", "malformed"), ("unknown_event", "unknown")]
)
def test_a_strange_venue_frame_is_a_counted_drop(bus: RunningBus, kind: str, counter: str) -> None:
    before = counters(bus, "feed.binance").get(counter, 0)
    fault(bus, kind=kind, count=3)
    wait_until(lambda: counters(bus, "feed.binance").get(counter, 0) >= before + 3, 10)
    flows(bus)
    assert nothing_restarted(bus)
    log = (bus.run_dir / "log" / "feed.binance.log").read_text()
    assert "Traceback" not in log


def test_garbage_on_the_bus_is_a_counted_drop(bus: RunningBus) -> None:
    with zmq_socket(zmq.XPUB, f"ipc://{bus.run_dir}/publish.sock") as publisher:
        assert publisher.poll(5000)  # the broker's subscription: now it listens
        for frame in (
            b"md/trades/sim/BTC-USDT/",
            b"md/nonsense/\0\x90",
            b"md/\xff\xfe/\0\x90",
            b"sys/\0",
        ):
            publisher.send(frame)
        wait_until(lambda: counters(bus, "broker").get("cache_malformed", 0) >= 4, 10)
        flows(bus)
    assert nothing_restarted(bus)


def test_garbage_requests_to_the_cache_change_nothing(bus: RunningBus) -> None:
    with zmq_socket(zmq.SUB, f"ipc://{bus.run_dir}/subscribe.sock") as subscriber:
        for key in (b"snapshot/", b"snapshot//md/", b"replay/a/b/c/", b"snapshot/x/" + b"y" * 900):
            subscriber.setsockopt(zmq.SUBSCRIBE, key)
        wait_until(lambda: counters(bus, "broker").get("answers_malformed", 0) >= 4, 10)
        flows(bus)
    assert nothing_restarted(bus)


async def test_a_garbage_websocket_message_gets_an_error_and_the_client_stays(
    bus: RunningBus,
) -> None:
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market-multi/") as ws:
        await ws.recv()
        for text in ("{", "[]", "7", '{"action": "fly"}', '{"action": 5}', "\u0000"):
            await ws.send(text)
            answer = json.loads(await ws.recv())
            assert answer["type"] == "error", text
            assert answer["code"] in {"bad_json", "bad_request", "unknown_action"}
            assert "Traceback" not in answer["message"]
        await ws.send(json.dumps({"action": "ping"}))
        assert json.loads(await ws.recv())["type"] == "pong"


async def test_garbage_instead_of_http_is_refused_and_others_go_on(bus: RunningBus) -> None:
    with socket.create_connection(("127.0.0.1", bus.port), timeout=5) as raw:
        raw.sendall(b"\x16\x03\x01 this is not http\r\n\r\n")
        assert raw.recv(4096).startswith((b"HTTP/1.1 4", b""))
    async with connect(f"ws://127.0.0.1:{bus.port}/ws/market/BTC/price/") as ws:
        kinds = {json.loads(await ws.recv())["type"] for _ in range(3)}
    assert kinds == {"connection", "price"}
    await eventually(lambda: nothing_restarted(bus))


def test_a_second_up_says_which_one_runs(bus: RunningBus) -> None:
    done = bus.cli("up", "--detach", "--config", str(bus.config))
    assert done.returncode != 0
    assert re.search(r"already|running", done.stderr + done.stdout)
    assert str(bus.run_dir) in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert nothing_restarted(bus)


def test_a_wrong_typed_key_is_named_with_its_file(
    make_bus: Callable[..., RunningBus],
) -> None:
    other = make_bus()
    text = other.config.read_text() + '\n[supervisor]\nhang_timeout_s = "five"\nstop_grase_s = 1\n'
    other.config.write_text(text)
    done = other.cli("up", "--detach", "--config", str(other.config))
    assert done.returncode == 2
    assert f"{other.config}: supervisor.hang_timeout_s: must be a number" in done.stderr
    assert "did you mean supervisor.stop_grace_s?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not other.processes()


@pytest.mark.parametrize("key", ["bridge.port", "simulator.ports.binance"])
def test_a_busy_port_is_one_clear_line(make_bus: Callable[..., RunningBus], key: str) -> None:
    other = make_bus()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = other.cli("up", "--detach", "--config", str(other.config), "--set", f"{key}={port}")
    said = done.stderr + done.stdout
    assert done.returncode != 0
    assert str(port) in said
    assert key in said
    assert "Traceback" not in said
    wait_until(lambda: not other.processes(), 15, "nothing left running")


def test_commands_without_a_bus_say_so(make_bus: Callable[..., RunningBus]) -> None:
    other = make_bus()
    for words in (["status"], ["down"], ["restart", "broker"], ["check"]):
        done = other.cli(*words)
        assert done.returncode == 4, words
        assert "Traceback" not in done.stderr
        assert done.stderr.strip()


def test_a_mistyped_process_is_named_with_the_nearest(bus: RunningBus) -> None:
    done = bus.cli("restart", "feed.binanse")
    assert done.returncode == 3
    assert "feed.binance" in done.stderr
