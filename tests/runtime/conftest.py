"""Processes run alone or by a pretended supervisor: a link, a lifeline, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus.runtime.environment import Spawned
from bus.testing import wait_until
from bus.transport.link import LinkClosedError, link_pair
from bus.transport.pulse import Pulse
from bus.wire.link import LinkMessage, decode_link, encode_link

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("program.py")


def start(behaviour: str, *words: str, **options: object) -> subprocess.Popen[str]:
    """The program, run alone, its error output readable once it has ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["MDBUS_RUN_DIR"] = tempfile.gettempdir()  # there is one: none is made
    environment.update(options.pop("environment", {}))  # type: ignore[call-overload]
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, str(PROGRAM), behaviour, "--name", "p", *words],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


class Pretended:
    """Plays the supervisor to one process."""

    def __init__(self) -> None:
        self.link, self._theirs = link_pair()
        self.pulse = Pulse.make()
        self.lifeline: tuple[int, int] = os.pipe()
        self.heard: list[LinkMessage] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, behaviour: str, *, parent_pid: int | None = None) -> subprocess.Popen[str]:
        given = (self._theirs.fileno(), self.pulse.fileno())
        spawned = Spawned(*given, 3, parent_pid or os.getpid(), self.lifeline[0], drain_s=0.5)
        self.process = start(
            behaviour,
            environment=spawned.to_environment(),
            pass_fds=[self.lifeline[0], *given],
            start_new_session=True,
        )
        self._theirs.close()
        return self.process

    def wait(
        self, kind: type[LinkMessage], count: int = 1, timeout_s: float = 10.0
    ) -> list[LinkMessage]:
        """The messages of a kind, once there are ``count`` of them."""
        wait_until(lambda: self._read() and len(self._of(kind)) >= count, timeout_s, kind.__name__)
        return self._of(kind)

    def _of(self, kind: type[LinkMessage]) -> list[LinkMessage]:
        return [message for message in self.heard if isinstance(message, kind)]

    def _read(self) -> bool:
        with suppress(LinkClosedError):
            while (frame := self.link.receive()) is not None:
                self.heard.append(decode_link(frame))
        if (frame := self.pulse.read()) is not None:
            self.heard.append(decode_link(frame))
        return True

    def send(self, message: LinkMessage) -> None:
        assert self.link.send(encode_link(message))

    def die(self) -> None:
        """Close the lifeline, as the kernel does for a dead supervisor."""
        os.close(self.lifeline[1])
        self.lifeline = (self.lifeline[0], -1)

    def close(self) -> None:
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
        for fd in self.lifeline:
            if fd >= 0:
                os.close(fd)
        self.link.close()
        self.pulse.close()


@pytest.fixture
def supervisor() -> Iterator[Pretended]:
    pretended = Pretended()
    yield pretended
    pretended.close()


def ended(process: subprocess.Popen[str], timeout_s: float = 30.0) -> tuple[int, str]:
    """The exit code and error output of a process that is about to end."""
    try:
        _, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        _, errors = process.communicate()
        pytest.fail(f"has not ended within {timeout_s} s: {errors}")
    return process.returncode, errors


Started = Callable[..., subprocess.Popen[str]]
