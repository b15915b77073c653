"""A broker as its own process, for tests: started, killed, stopped, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import zmq

from bus.testing import wait_until


class KeepingContext(zmq.Context[zmq.Socket[bytes]]):
    """Keeps its sockets until it is destroyed: a test may drop them without a warning."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[zmq.Socket[bytes]]
        object.__setattr__(self, "kept", [])

    def socket(self, *arguments: Any, **options: Any) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = super().socket(*arguments, **options)
        self.kept.append(made)
        return made

    def end(self) -> None:
        """Close every socket and the context, at once."""
        for socket in self.kept:
            socket.close(linger=0)
        self.term()


class ServingBroker:
    """``python -m bus.broker`` in ``run_dir``; use as a context manager."""

    def __init__(self, run_dir: Path, *overrides: str) -> None:
        self.run_dir = run_dir
        self.overrides = overrides
        self.publish = f"ipc://{run_dir}/publish.sock"
        self.subscribe = f"ipc://{run_dir}/subscribe.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it serves subscribers."""
        arguments = [part for override in self.overrides for part in ("--set", override)]
        with (self.run_dir / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bus.broker", "--name", "broker", *arguments],
                env=dict(os.environ, MDBUS_RUN_DIR=str(self.run_dir)),
                stderr=log,
            )
        wait_until(self.answers, 15, "the broker to answer")

    def answers(self) -> bool:
        """Whether a snapshot subscription gets its end marker."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with zmq.Context() as context, context.socket(zmq.SUB) as probe:
            probe.linger = 0
            probe.connect(self.subscribe)
            probe.subscribe(b"snapshot/test/md/none/")
            return bool(probe.poll(500))

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(10)

    def log(self) -> str:
        """What it wrote to stderr."""
        return (self.run_dir / "broker.log").read_text()

    def __enter__(self) -> ServingBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
