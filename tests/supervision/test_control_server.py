"""The control socket against bad, big, slow and many requests."""

from __future__ import annotations

import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bus.supervision.control_client import RefusedError, ask
from bus.supervision.control_server import MAX_CONNECTIONS, MAX_REQUEST_BYTES
from bus.testing import wait_until
from tests.supervision.conftest import Driven


@pytest.fixture
def bus(played_bus: Driven) -> Driven:
    return played_bus


def talk(run_dir: Path, *lines: bytes) -> list[dict[str, Any]]:
    """Send lines on one connection; every answer until it is closed or all are answered."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(run_dir / "control.sock"))
        connection.sendall(b"\n".join(lines) + b"\n")
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answers:
            return [json.loads(answer) for answer in answers]


def test_bad_requests_get_an_answer_and_harm_nothing(bus: Driven) -> None:
    answers = talk(
        bus.run_dir,
        b"not json",
        b"[1]",
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"v": 2, "verb": "status"}',
        b'{"v": 1, "verb": "format-disk"}',
        b'{"v": 1, "verb": "stop"}',
        b'{"v": 1, "verb": "stop", "names": "feed.binance"}',
        b'{"v": 1, "verb": "stop", "names": ["feed.binance"], "timeout_s": -1}',
        b'{"v": 1, "verb": "stop", "names": ["feed.binance"], "timeout_s": "x"}',
        b'{"v": 1, "verb": "stop", "names": [{}]}',
    )
    assert [answer["code"] for answer in answers] == [2] * 10 + [3]
    assert bus.row("feed.binance")["state"] == "ready"


def test_a_request_that_is_too_long_ends_its_connection(bus: Driven) -> None:
    (answer,) = talk(bus.run_dir, b"x" * (MAX_REQUEST_BYTES + 1), b"{}")
    assert "too long" in answer["error"]


def test_several_requests_on_one_connection(bus: Driven) -> None:
    request = b'{"v": 1, "verb": "status"}'
    assert [answer["ok"] for answer in talk(bus.run_dir, request, request)] == [True, True]


def test_a_mistyped_name_is_told_its_neighbour(bus: Driven) -> None:
    with pytest.raises(RefusedError, match=r"did you mean bridge\.1") as refused:
        ask(bus.run_dir, "restart", names=["bridge1"])
    assert refused.value.exit_code == 3


def test_the_socket_is_private(bus: Driven) -> None:
    assert stat.S_IMODE((bus.run_dir / "control.sock").stat().st_mode) == 0o600


def idle(run_dir: Path, count: int) -> Iterator[socket.socket]:
    for _ in range(count):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(run_dir / "control.sock"))
        yield connection


def test_idle_connections_are_bounded_and_do_not_stop_the_rest(bus: Driven) -> None:
    crowd = list(idle(bus.run_dir, MAX_CONNECTIONS + 10))

    def refused() -> int:
        count = 0
        for connection in crowd:
            connection.setblocking(False)
            try:
                count += connection.recv(1) == b""
            except BlockingIOError:
                continue
        return count

    wait_until(lambda: refused() >= 10)
    for connection in crowd:
        connection.close()
    wait_until(lambda: _answers(bus.run_dir))


def _answers(run_dir: Path) -> bool:
    try:
        return bool(ask(run_dir, "status"))
    except RefusedError:
        return False
