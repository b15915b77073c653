"""CPU and memory of a process that runs, and nothing of one that does not."""

from __future__ import annotations

import os

from bus.supervision.figures import Figures


def test_a_running_process_has_figures() -> None:
    figures = Figures()
    usage = figures.usage("me", os.getpid())
    assert usage is not None
    assert usage.rss_bytes > 1_000_000
    assert usage.threads >= 1
    assert usage.fds >= 3
    assert usage.cpu_percent >= 0


def test_a_gone_process_has_none() -> None:
    figures = Figures()
    gone = 2**22 + 1
    figures.sample("gone", gone)
    assert figures.usage("gone", gone) is None


def test_a_new_generation_begins_anew() -> None:
    figures = Figures()
    figures.sample("me", os.getppid())
    figures.forget("me")
    assert figures.usage("me", os.getpid()) is not None
