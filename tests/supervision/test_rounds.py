"""What the supervisor looks at by itself, over real processes."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bus.supervision.control_client import ask
from bus.testing import wait_until
from tests.supervision.conftest import Driven
from tests.supervision.test_supervisor import driven_bus

Drive = Callable[..., Driven]


@pytest.fixture(scope="module")
def greedy() -> Iterator[Driven]:
    """Processes that take too much once they are told to: memory, files, far too much memory."""
    plan = [(name, behaviour, 0) for name, behaviour in GREEDY.items()]
    ceilings = ("supervisor.max_rss_bytes=150000000", "supervisor.max_fds=200")
    patience = "supervisor.hang_timeout_s=60.0"  # taking 400 MiB may take long on a busy machine
    with driven_bus(plan, *ceilings, patience) as bus:
        bus.up()
        for name in GREEDY:
            os.kill(bus.pid(name), signal.SIGUSR1)
        yield bus


GREEDY = {"memory": "hog", "files": "files", "glutton": "glutton"}


@pytest.mark.parametrize("name", ["memory", "files"])
def test_one_over_its_ceiling_is_drained_and_started_again(greedy: Driven, name: str) -> None:
    wait_until(lambda: greedy.row(name)["generation"] == 2, 30)
    wait_until(lambda: greedy.row(name)["state"] == "ready", 20)
    (limit,) = greedy.events("limit", name)
    assert "the ceiling is" in limit["text"]
    last = greedy.row(name)["last_exit"]
    assert last["code"] == 0, "drained, not killed"
    assert last["reason"] == "over its ceiling"


def test_one_far_over_is_killed_at_once(greedy: Driven) -> None:
    wait_until(lambda: greedy.row("glutton")["generation"] == 2, 30)
    assert "killing" in greedy.events("limit", "glutton")[0]["text"]
    assert greedy.row("glutton")["last_exit"]["signal"] == "SIGKILL"


def test_a_failing_process_ends_a_bus_that_gives_up(drive: Drive) -> None:
    bus = drive(
        ("a", "false", 0),
        ("b", "well", 0),
        settings=("supervisor.give_up=any", "supervisor.unstable_limit=2"),
    ).start()
    assert bus.wait_end(30) == 1
    assert "giving up: a" in bus.events("stopping")[0]["text"]
    assert not bus.living()


def test_a_bus_that_gives_up_for_the_broker_only_goes_on(drive: Drive) -> None:
    bus = drive(
        ("a", "false", 0),
        settings=("supervisor.give_up=broker", "supervisor.unstable_limit=2"),
    ).up()
    bus.wait_state("a", "failing")
    assert not ask(bus.run_dir, "check")["healthy"]
    assert bus.status()["state"] == "running"


def test_no_connection_waits_for_a_process_that_was_stopped(drive: Drive) -> None:
    """The kernel spreads connections over the sockets that listen: a stopped one must not."""
    bus = drive(("bridge.1", "echo", 0, 0), ("bridge.2", "echo", 0, 1)).up()
    port = int(bus.status()["endpoints"]["http"].rpartition(":")[2])

    def listeners() -> int:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return sum(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)

    def who() -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return int(connection.recv(100) or 0)

    assert listeners() == 2
    ask(bus.run_dir, "stop", names=["bridge.1"], wait_s=20)
    wait_until(lambda: listeners() == 1, 10)
    assert {who() for _ in range(30)} == {bus.pid("bridge.2")}
    ask(bus.run_dir, "start", names=["bridge.1"], wait_s=20)
    assert listeners() == 2
    wait_until(lambda: who() == bus.pid("bridge.1"), 10)
    ask(bus.run_dir, "stop", names=["bridge.1", "bridge.2"], wait_s=20)
    wait_until(lambda: listeners() == 0, 10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
