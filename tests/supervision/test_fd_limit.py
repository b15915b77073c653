"""The limit of open files: raised as far as it goes, never lowered."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from bus.supervision.fd_limit import MOST, wanted_limit
from tests.supervision.conftest import ROOT

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "wanted"),
    [
        (1_024, 4_096, 4_096),
        (1_024, INFINITY, MOST),
        (1_024, 2 * MOST, MOST),
        (4_096, 4_096, 4_096),
        (2 * MOST, 4 * MOST, 2 * MOST),
    ],
)
def test_the_soft_limit_becomes_the_hard_one(soft: int, hard: int, wanted: int) -> None:
    assert wanted_limit(soft, hard) == wanted


def test_a_low_limit_is_raised_and_one_too_low_is_reported() -> None:
    code = (
        "import resource\n"
        "from bus.supervision.fd_limit import raise_fd_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))\n"
        "print(raise_fd_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "512 (512, 512)"
    assert "few open files allowed" in done.stderr
