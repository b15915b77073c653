"""CPU and memory of a process that runs, and nothing of one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil

from bus.supervision.figures import Figures
from bus.testing import wait_until


def test_a_running_process_has_figures() -> None:
    figures = Figures()
    usage = figures.look("me", os.getpid())
    assert usage is not None
    process = psutil.Process()
    assert 0.5 < usage.rss_bytes / process.memory_info().rss < 2
    assert usage.threads == process.num_threads()
    assert abs(usage.fds - process.num_fds()) <= 2
    assert usage.cpu_percent == 0.0, "nothing to compare with yet"


def test_cpu_is_that_between_two_looks() -> None:
    now_ns = 0
    figures = Figures(lambda: now_ns)
    figures.look("me", os.getpid())
    before_s = time.process_time()
    wait_until(lambda: sum(range(10_000)) and time.process_time() > before_s + 0.2)
    now_ns = 2_000_000_000
    usage = figures.look("me", os.getpid())
    assert usage is not None
    spent_s = time.process_time() - before_s
    assert 0.15 / 2 * 100 < usage.cpu_percent <= (spent_s + 0.05) / 2 * 100
    now_ns += 900_000_000
    again = figures.look("me", os.getpid())
    assert again is not None
    assert again.cpu_percent == usage.cpu_percent, "of less than a second nothing can be said"


def test_a_gone_process_has_none() -> None:
    figures = Figures()
    gone = 2**22 + 1
    assert figures.look("gone", gone) is None


def test_a_dead_one_that_nobody_has_waited_for_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert Figures().look("child", child.pid) is None
    child.wait()


def test_a_name_with_parentheses_and_blanks_does_not_confuse() -> None:
    code = "open('/proc/self/comm', 'w').write('a) R (b '); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        usage = Figures().look("child", child.pid)
        child.communicate(b"\n")
    assert usage is not None
    assert usage.threads == 1


def test_a_new_generation_begins_anew() -> None:
    figures = Figures()
    figures.look("me", os.getppid())
    figures.forget("me")
    assert figures.look("me", os.getpid()) is not None
