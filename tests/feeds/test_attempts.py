"""Attempts to connect are counted by all processes of the host together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bus.feeds.attempts import AttemptBudget

TAKER = """
import sys
from pathlib import Path
from bus.feeds.attempts import AttemptBudget
budget = AttemptBudget(30, 300.0, Path(sys.argv[1]))
taken = 0
for _ in range(60):
    while 0 < (wait_s := budget.take()) < 0.05:
        pass
    taken += wait_s == 0
print(taken)
"""


def test_processes_share_the_attempts(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    takers = [
        subprocess.Popen([sys.executable, "-c", TAKER, str(path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert sum(int(taker.communicate(timeout=30)[0]) for taker in takers) == 30


def test_a_refusal_holds_for_every_process(tmp_path: Path) -> None:
    one, two = (AttemptBudget(5, 300.0, tmp_path / "attempts") for _ in range(2))
    one.refused(60.0)
    assert two.take() == pytest.approx(60.0, abs=1.0)
    assert two.waits == 1


def test_alone_it_needs_no_file() -> None:
    budget = AttemptBudget(2)
    assert [budget.take(), budget.take()] == [0.0, 0.0]
    assert budget.take() > 0
