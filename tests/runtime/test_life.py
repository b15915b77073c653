"""A process under a supervisor: readiness, heartbeats, stops, and the supervisor's death."""

from __future__ import annotations

import os
import signal
import time

import pytest

from bus.wire.link import Beat, Bye, Draining, Hello, Ready, Stop
from tests.runtime.conftest import Pretended, ended

KINDS = ["well/uvloop", "well/asyncio", "blocking"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_hello_ready_and_beats_with_its_counters(supervisor: Pretended, kind: str) -> None:
    process = supervisor.start(kind)
    assert supervisor.wait(Hello) == [Hello(process.pid)]
    assert supervisor.wait(Ready) == [Ready({"http": "http://127.0.0.1:1"})]
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
    assert time.monotonic() - begun < 2.0


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
    assert 0.4 < time.monotonic() - begun < 3.0, "its drain time, 0.5 s, then the end"


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
