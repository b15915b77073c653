"""A process under a supervisor: readiness, heartbeats, stops, and the supervisor's death."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from bus.runtime.life import Life
from bus.testing import eventually
from bus.wire.link import Beat, Bye, Command, Draining, Hello, Ready, Reopen, Reply, Stop
from tests.runtime.conftest import Pretended, ended

KINDS = ["well/uvloop", "well/asyncio", "blocking"]
VERBS = ("log_level", "echo", "refuse", "break")


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_hello_ready_and_beats_with_its_counters(supervisor: Pretended, kind: str) -> None:
    process = supervisor.start(kind)
    assert supervisor.wait(Hello) == [Hello(process.pid)]
    assert supervisor.wait(Ready) == [Ready({"http": "http://127.0.0.1:1"}, VERBS)]
    beats = supervisor.wait(Beat, 3)
    numbers = [beat.number for beat in beats if isinstance(beat, Beat)]
    assert numbers == list(range(1, len(beats) + 1))
    last = beats[-1]
    assert isinstance(last, Beat)
    assert last.counters == {"answer": 42}
    assert 0 <= last.loop_lag_ms < 1_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_over_the_link_drains(supervisor: Pretended, kind: str) -> None:
    process = supervisor.start(kind)
    supervisor.wait(Ready)
    begun = time.monotonic()
    supervisor.send(Stop("enough"))
    assert supervisor.wait(Draining) == [Draining("enough")]
    assert supervisor.wait(Bye) == [Bye(0)]
    assert ended(process)[0] == 0
    assert time.monotonic() - begun < 15.0


async def test_only_the_supervisors_word_says_that_nobody_follows() -> None:
    asked, told, alone = (Life("x", None) for _ in range(3))
    for life in (asked, told, alone):
        life.attach(asyncio.get_running_loop(), lambda: None)
    asked.request_stop("SIGTERM")
    told.request_stop("SIGTERM")
    told._heed("down")
    alone.supervisor_lost()
    await eventually(lambda: alone.stopping.is_set())
    assert [life.is_taken_down for life in (asked, told, alone)] == [False, True, True]
    for life in (asked, told, alone):
        life.detach()


def test_the_last_word_carries_the_line_of_a_failure(supervisor: Pretended) -> None:
    supervisor.start("fails")
    assert supervisor.wait(Bye) == [Bye(1, "the venue refuses us")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_the_lifeline_drains(supervisor: Pretended, kind: str) -> None:
    process = supervisor.start(kind)
    supervisor.wait(Ready)
    supervisor.die()
    exit_code, errors = ended(process)
    assert exit_code == 0
    assert "supervisor is gone" in errors


def test_a_blocked_process_is_ended_by_force_once_its_supervisor_is_gone(
    supervisor: Pretended,
) -> None:
    process = supervisor.start("blocked")
    supervisor.wait(Ready)
    begun = time.monotonic()
    supervisor.die()
    assert ended(process)[0] == -signal.SIGKILL
    assert 0.4 < time.monotonic() - begun < 15.0, "its drain time, 0.5 s, then the end"


def test_a_process_whose_supervisor_died_before_it_was_up_does_not_run(
    supervisor: Pretended,
) -> None:
    process = supervisor.start("well", parent_pid=os.getppid())
    assert ended(process)[0] == 1


def test_a_wrong_report_does_not_stop_the_heartbeat(supervisor: Pretended) -> None:
    process = supervisor.start("wrong-report")
    beats = supervisor.wait(Beat, 2)
    assert all(isinstance(beat, Beat) and beat.counters == {} for beat in beats)
    process.terminate()
    assert "ZeroDivisionError" in ended(process)[1]


def test_a_blocked_loop_does_not_beat(supervisor: Pretended) -> None:
    supervisor.start("blocked")
    supervisor.wait(Ready)
    with pytest.raises(AssertionError, match="Beat"):
        supervisor.wait(Beat, 2, timeout_s=1.6)  # one may have come before the block


@pytest.mark.parametrize("kind", KINDS)
def test_commands_are_answered_each_by_its_number(supervisor: Pretended, kind: str) -> None:
    process = supervisor.start(kind)
    supervisor.wait(Ready)
    for number, verb in enumerate(("echo", "refuse", "break", "unheard-of"), 1):
        supervisor.send(Command(number, verb, {"words": ["a", 1, None]}))
    answers = {reply.id: reply for reply in supervisor.wait(Reply, 4) if isinstance(reply, Reply)}
    assert answers[1] == Reply(1, True, {"words": ["a", 1, None]})
    assert answers[2] == Reply(2, False, {}, "the venue says no")
    assert answers[3] == Reply(3, False, {}, "internal error, see the log")
    assert answers[4].error == (
        "there is no command 'unheard-of' here; known: log_level, echo, refuse, break"
    )
    supervisor.send(Stop("enough"))
    exit_code, errors = ended(process)
    assert exit_code == 0, "a failing handler does not end the process"
    assert "ZeroDivisionError" in errors, "the log has what the answer does not"


@pytest.mark.parametrize("kind", ["well/uvloop", "blocking"])
def test_the_log_goes_on_in_a_fresh_file_when_asked(
    supervisor: Pretended, kind: str, run_dir: Path
) -> None:
    process = supervisor.start(kind)
    supervisor.wait(Ready)
    supervisor.send(Reopen(str(run_dir / "nowhere" / "p.log")))
    supervisor.send(Reopen(str(run_dir / "p.log")))
    supervisor.send(Command(1, "break"))
    supervisor.wait(Reply)
    _, errors = ended_by(supervisor, process)
    assert "ready" in errors
    assert "cannot reopen the log" in errors, "said where it could still be said"
    fresh = (run_dir / "p.log").read_text()
    assert "ZeroDivisionError" in fresh
    assert "ZeroDivisionError" not in errors
    assert stat.S_IMODE((run_dir / "p.log").stat().st_mode) == 0o600


def test_any_process_can_be_told_to_log_more(supervisor: Pretended) -> None:
    process = supervisor.start("well/asyncio")
    supervisor.wait(Ready)
    supervisor.send(Command(1, "log_level", {"level": "error"}))
    supervisor.send(Command(2, "log_level", {"level": "loud"}))
    replies = supervisor.wait(Reply, 2)
    assert Reply(1, True, {"level": "error"}) in replies
    assert "must be one of debug, info" in str(replies)
    _, errors = ended_by(supervisor, process)
    assert "stopping" not in errors, "an event of level info"


def ended_by(supervisor: Pretended, process: subprocess.Popen[str]) -> tuple[int, str]:
    supervisor.send(Stop("enough"))
    return ended(process)
