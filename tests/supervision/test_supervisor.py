"""The supervisor over real processes: order, restarts, hangs, ends, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from bus.supervision.control_client import RefusedError, ask
from bus.testing import wait_until
from tests.stalls import Stalls
from tests.supervision.conftest import Driven, living

Drive = Callable[..., Driven]
RESTART_S = 1.0  # without a spare: Python starts and imports, a quarter of this when left alone
HANG_TIMEOUT_S = 2.0  # of every supervisor of these tests


@contextmanager
def driven_bus(plan: list[tuple[Any, ...]], *settings: str) -> Iterator[Driven]:
    """A supervisor for several tests, not started yet; at the end it must leave nothing."""
    run_dir = Path(tempfile.mkdtemp(prefix="mdb-"))
    driven = Driven(run_dir, plan, *settings)
    yield driven
    driven.signal(signal.SIGTERM)
    assert driven.wait_end() == 0
    assert not driven.living()
    shutil.rmtree(run_dir)


@pytest.fixture(scope="module")
def bus() -> Iterator[Driven]:
    """Three processes in three layers, shared by the tests that leave them running."""
    with driven_bus([("a", "well", 0), ("b", "well", 1), ("c", "well", 2)]) as driven:
        yield driven.up()


def test_layers_start_in_order_each_when_the_one_before_is_ready(bus: Driven) -> None:
    assert [event["process"] for event in bus.events("ready")][:3] == ["a", "b", "c"]
    assert all(row["state"] == "ready" for row in bus.status()["processes"])


def test_heartbeats_carry_lag_counters_and_endpoints(bus: Driven) -> None:
    row = wait_until(lambda: (r := bus.row("a"))["counters"] and r)
    assert row["counters"] == {"answer": 42}
    assert row["endpoints"] == {"made-up": "tcp://127.0.0.1:1"}
    assert 0 <= row["heartbeat_age_ms"] < 2_000
    assert 0 <= row["loop_lag_ms"] < 1_000


def test_a_killed_process_is_replaced_at_once(bus: Driven) -> None:
    wait_until(lambda: bus.row("a")["uptime_s"] > 1.0)
    old, other, restarts = bus.pid("a"), bus.pid("b"), bus.row("a")["restarts"]
    with Stalls() as stalls:
        killed_s, killed_ns = time.monotonic(), time.time_ns()
        os.kill(old, signal.SIGKILL)
        row = bus.wait_new_pid("a", old)
        took_s = (bus.events("ready", "a")[-1]["at_ns"] - killed_ns) / 1e9
        assert took_s < RESTART_S + stalls.allowance_s(killed_s, killed_s + took_s)
    assert row["restarts"] == restarts + 1
    assert row["last_exit"]["signal"] == "SIGKILL"
    assert bus.pid("b") == other, "nobody else is touched"
    exited, restarting = bus.events("exited", "a")[-1], bus.events("restarting", "a")[-1]
    assert (restarting["at_ns"] - exited["at_ns"]) / 1e6 < 50, "ms from exit to new start"


def test_an_operators_stop_holds_until_a_start(bus: Driven) -> None:
    ask(bus.run_dir, "stop", names=["a"], wait_s=10)
    row = bus.row("a")
    assert (row["state"], row["pid"], row["wanted"]) == ("stopped", None, False)
    assert ask(bus.run_dir, "check")["healthy"], "what the operator stopped is not at fault"
    assert not ask(bus.run_dir, "check", names=["a"])["healthy"]
    ask(bus.run_dir, "start", names=["a"], wait_s=10)
    assert bus.row("a")["state"] == "ready"


def test_another_users_request_is_refused(bus: Driven) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to become another user")
    code = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1])\n"
    )
    done = subprocess.run(
        ["python3", "-c", code, str(bus.run_dir / "control.sock")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in done.stderr


def test_a_second_supervisor_is_refused_and_says_who_runs(bus: Driven) -> None:
    assert bus.process is not None
    second = Driven(bus.run_dir, [("a", "well", 0)]).start()
    assert second.wait_end() == 1
    assert f"pid {bus.process.pid}" in second.output()
    assert bus.row("a")["state"] == "ready"


def test_a_paused_supervisor_does_not_take_its_children_for_hung(bus: Driven) -> None:
    pid = bus.pid("a")
    bus.signal(signal.SIGSTOP)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 2.3)  # longer than hang_timeout
    bus.signal(signal.SIGCONT)
    wait_until(lambda: bus.events("note"), 5)
    assert "did not run" in bus.events("note")[0]["text"]
    assert bus.row("a")["heartbeat_age_ms"] < 2_000
    assert bus.pid("a") == pid


def test_a_stop_goes_in_reverse_order_and_leaves_nothing(drive: Drive, run_dir: Path) -> None:
    bus = drive(("a", "well", 0), ("b", "well", 1), ("c", "well", 2)).up()
    bus.signal(signal.SIGTERM)
    assert bus.wait_end() == 0
    assert [event["process"] for event in bus.events("stopped")] == ["c", "b", "a"]
    assert not bus.living()
    assert not list(run_dir.glob("*.sock"))
    assert not list((run_dir / "pids").iterdir())


@pytest.fixture(scope="module")
def troubled() -> Iterator[Driven]:
    """One that crashes, one that refuses its settings, one that is well."""
    with driven_bus(
        [("a", "crash", 0), ("b", "well", 1), ("c", "config", 0)],
        "supervisor.unstable_limit=4",
        "supervisor.backoff_first_s=0.05",
        "supervisor.backoff_cap_s=60.0",
    ) as bus:
        (bus.run_dir / "log").mkdir(mode=0o700)
        (bus.run_dir / "log" / "c.log").write_text("of an earlier run\n")
        yield bus.up()


def test_a_crash_loop_backs_off_and_is_reported(troubled: Driven) -> None:
    row = troubled.wait_state("a", "failing")
    assert row["failing"]
    assert row["retry_in_s"] > 30
    assert row["last_exit"]["reason"] == "cannot go on", "the process's own line is kept"
    assert troubled.row("b")["state"] == "ready", "the rest of the bus runs"
    check = ask(troubled.run_dir, "check")
    assert not check["healthy"]
    assert {problem["name"] for problem in check["problems"]} == {"a", "c"}


def test_bad_settings_are_tried_once(troubled: Driven) -> None:
    row = troubled.row("c")
    assert row["state"] == "fatal"
    assert row["generation"] == 1
    assert "has no key" in row["last_exit"]["reason"]
    tail = row["last_exit"]["log_tail"]
    assert any("has no key" in line for line in tail)
    assert "of an earlier run" not in tail
    assert (troubled.run_dir / "log" / "c.log").read_text().startswith("of an earlier run\n")


@dataclass
class Hung:
    """A bus whose processes all hang at the same moment, and what they were before."""

    bus: Driven
    pids: dict[str, int]
    begun: float
    begun_s: float
    stalls: Stalls

    def assert_ended_in_time(self, name: str) -> None:
        """Within hang_timeout and two seconds, and what this machine was late by."""
        (ended, *_) = self.bus.events("exited", name)
        took_s = ended["at_ns"] / 1e9 - self.begun
        until_s = self.begun_s + took_s
        assert took_s < HANG_TIMEOUT_S + 2.0 + self.stalls.allowance_s(self.begun_s, until_s)


@pytest.fixture(scope="module")
def hung() -> Iterator[Hung]:
    """One whose loop is blocked, one that is stopped, one that never says that it serves."""
    plan = [("blocked", "stuck", 0), ("stopped", "well", 0), ("silent", "silent", 1)]
    with driven_bus(plan, "supervisor.ready_timeout_s=4.0") as bus:
        bus.start()
        wait_until(
            lambda: {e["process"] for e in bus.events("ready")} == {"blocked", "stopped"}, 20
        )
        pids = {name: bus.pid(name) for name in ("blocked", "stopped")}
        with Stalls() as stalls:
            hung = Hung(bus, pids, time.time(), time.monotonic(), stalls)
            os.kill(pids["blocked"], signal.SIGUSR1)
            os.kill(pids["stopped"], signal.SIGSTOP)
            yield hung


def test_a_blocked_loop_is_noticed_dumped_and_replaced(hung: Hung) -> None:
    hung.bus.wait_new_pid("blocked", hung.pids["blocked"], 20)
    hung.assert_ended_in_time("blocked")
    log = hung.bus.run_dir / "log" / "blocked.log"
    assert "block_for_ever" in log.read_text(), "the log says where"


def test_a_stopped_process_is_replaced(hung: Hung) -> None:
    hung.bus.wait_new_pid("stopped", hung.pids["stopped"], 20)
    hung.assert_ended_in_time("stopped")


def test_a_process_that_never_serves_is_replaced_after_its_own_timeout(hung: Hung) -> None:
    wait_until(lambda: hung.bus.events("hung", "silent"), 10)
    assert "not ready after 4 s" in hung.bus.events("hung", "silent")[0]["text"]
    wait_until(lambda: hung.bus.row("silent")["generation"] > 1, 10)


def test_a_grandchild_that_ignores_sigterm_survives_neither_stop_nor_crash(drive: Drive) -> None:
    bus = drive(("a", "family", 0), ("b", "family", 0)).up()
    assert bus.process is not None
    wait_until(lambda: len(bus.living()) == 7)  # supervisor, two children, four grandchildren
    before = set(bus.living()) - {bus.process.pid}
    old = bus.pid("b")
    ask(bus.run_dir, "stop", names=["a"], wait_s=10)
    os.kill(old, signal.SIGKILL)
    bus.wait_new_pid("b", old)
    wait_until(lambda: not set(bus.living()) & before)


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace_and_holds_up_nobody(
    drive: Drive,
) -> None:
    bus = drive(("a", "deaf", 0), ("b", "well", 0), settings=("supervisor.stop_grace_s=2.0",)).up()
    begun = time.monotonic()
    with pytest.raises(RefusedError) as late:
        ask(bus.run_dir, "stop", names=["a"], timeout_s=0.1)
    assert late.value.exit_code == 5
    ask(bus.run_dir, "restart", names=["b"], wait_s=10)
    assert bus.row("a")["state"] == "stopping", "the verb for b did not wait for that for a"
    bus.wait_state("a", "stopped")
    assert 1.9 < time.monotonic() - begun < 15.0
    assert bus.row("a")["last_exit"]["signal"] == "SIGKILL"


def test_the_overall_deadline_ends_a_slow_stop(drive: Drive) -> None:
    bus = drive(
        *((name, "deaf", layer) for layer, name in enumerate("ab")),
        settings=(
            "supervisor.stop_grace_s=60.0",
            "supervisor.stop_deadline_s=0.5",
            *("bridge.max_connections=1", "bridge.drain_s=0.0", "bridge.close_timeout_s=0.1"),
        ),
    ).up()
    begun = time.monotonic()
    bus.signal(signal.SIGTERM)
    assert bus.wait_end() == 0
    assert time.monotonic() - begun < 15.0
    assert not bus.living()


def test_a_second_interrupt_kills_at_once(drive: Drive) -> None:
    bus = drive(("a", "deaf", 0), settings=("supervisor.stop_grace_s=60.0",)).up()
    bus.signal(signal.SIGINT)
    wait_until(lambda: bus.events("stopping"))
    bus.signal(signal.SIGINT)
    assert bus.wait_end(5.0) == 0
    assert not bus.living()


def test_a_second_interrupt_starts_nothing_again(drive: Drive) -> None:
    """The last layer is slow to stop, so that those before it still run and are still wanted."""
    bus = drive(
        *(("a", "well", 0), ("b", "well", 1), ("c", "deaf", 2)),
        settings=("supervisor.stop_grace_s=60.0",),
    ).up()
    wait_until(lambda: all(row["uptime_s"] > 0.5 for row in bus.status()["processes"]))
    bus.signal(signal.SIGINT)
    wait_until(lambda: bus.events("stopping"))
    bus.signal(signal.SIGINT)
    assert bus.wait_end(5.0) == 0
    assert not bus.events("restarting")
    assert sorted(event["process"] for event in bus.events("stopped")) == ["a", "b", "c"]
    assert not bus.living()


def test_nothing_survives_kill_9_of_the_supervisor(drive: Drive) -> None:
    behaviours = ("well", "deaf", "stuck", "family")
    bus = drive(*((behaviour, behaviour, 0) for behaviour in behaviours)).up()
    wait_until(lambda: len(bus.living()) == 1 + 4 + 2)  # a family has two more
    os.kill(bus.pid("stuck"), signal.SIGUSR1)
    with Stalls() as stalls:
        killed_s = time.monotonic()
        bus.signal(signal.SIGKILL)
        bus.wait_end()
        try:
            wait_until(lambda: not bus.living(), 10.0)
        except AssertionError:
            left = [psutil.Process(pid).cmdline() for pid in bus.living()]
            pytest.fail(f"still there: {left}")
        took_s = time.monotonic() - killed_s
        assert took_s < 1.0 + stalls.allowance_s(killed_s), "orphan_drain_s is 0.8"


def test_a_supervisor_that_dies_during_a_start_leaves_nothing(drive: Drive) -> None:
    bus = drive(*((f"p{number}", "well", 0) for number in range(4))).start()
    wait_until(lambda: len(bus.living()) >= 3)
    bus.signal(signal.SIGKILL)
    bus.wait_end()
    wait_until(lambda: not bus.living(), 10.0, "all gone")


def test_a_stopped_left_over_is_removed_by_the_next_supervisor(drive: Drive) -> None:
    """A process that cannot run cannot notice its supervisor's death: the next one ends it."""
    first = drive(("a", "well", 0)).up()
    left_over = first.pid("a")
    os.kill(left_over, signal.SIGSTOP)
    first.signal(signal.SIGKILL)
    first.wait_end()
    assert psutil.pid_exists(left_over)
    second = drive(("a", "well", 0)).up()
    assert left_over not in living(second.run_dir)
    assert second.row("a")["state"] == "ready"


def test_a_restart_refuses_no_connection(drive: Drive) -> None:
    """The listener outlives each generation: connections wait in its backlog."""
    bus = drive(("bridge.1", "echo", 0, 0)).up()
    port = int(bus.status()["endpoints"]["http"].rpartition(":")[2])

    def who() -> int:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            return int(connection.recv(100) or 0)

    old = who()
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: bus.row("bridge.1")["pid"] != old)
    assert who() not in (old, 0), "connected while nobody accepted, answered by the next"


def test_restarts_leak_no_descriptor(drive: Drive) -> None:
    bus = drive(
        ("a", "false", 0),
        settings=(
            "supervisor.backoff_first_s=0.01",
            "supervisor.backoff_cap_s=0.1",
            "supervisor.crash_limit=10000",
        ),
    ).start()
    assert bus.process is not None
    supervisor = psutil.Process(bus.process.pid)
    wait_until(lambda: len(bus.events("exited", "a")) > 1, 20)
    wait_until(lambda: bus.row("a")["state"] in ("failing", "backoff"))
    before = supervisor.num_fds()
    seen = len(bus.events("exited", "a"))
    wait_until(lambda: len(bus.events("exited", "a")) > seen + 4, 30)
    wait_until(lambda: supervisor.num_fds() <= before + 4, 5, "no descriptor left open")
