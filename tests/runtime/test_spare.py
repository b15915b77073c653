"""A spare imports, waits, and becomes the process it is told to be."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.runtime.spare import IMPORTED, Role, receive_role

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        ours.settimeout(20)
        theirs.settimeout(20)
        yield ours, theirs


def role(**changes: object) -> Role:
    facts = {
        "module": "bus.broker",
        "arguments": ("--name", "broker"),
        "log_path": "/nowhere/x.log",
        "environment": {"A": "1"},
    }
    return Role(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_role_arrives_whole_with_its_descriptor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    sent = role(listen_key="FD", environment={"A": "x" * 3_000})
    line = sent.to_line()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        socket.send_fds(ours, [line[:100]], [listener.fileno()])
        ours.sendall(line[100:])
        taken = receive_role(theirs)
        assert taken is not None
        got, fd = taken
        assert got == sent
        assert fd is not None
        with socket.socket(fileno=fd) as received:
            assert received.getsockname() == listener.getsockname()


def test_no_role_when_the_supervisor_goes(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    assert receive_role(theirs) is None


def test_a_line_without_end_is_refused(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 200_000)
    ours.sendall(b"x" * 70_000)
    with pytest.raises(ValueError, match="64 KiB"):
        receive_role(theirs)


def started(theirs: socket.socket, *modules: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "bus.runtime.spare", str(theirs.fileno()), *modules],
        pass_fds=[theirs.fileno()],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )


def test_a_spare_plays_its_role_to_the_exit_code(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    ours, theirs = pair
    spare = started(theirs, "bus.broker.__main__")
    theirs.close()
    assert ours.recv(64) == IMPORTED
    bad = tmp_path / "bad.toml"
    bad.write_text("nonsense = 1\n")
    log = tmp_path / "broker.log"
    arguments = ("--config", str(bad), "--name", "broker")
    ours.sendall(role(arguments=arguments, log_path=str(log)).to_line())
    _, errors = spare.communicate(timeout=20)
    assert spare.returncode == 78, "as the broker itself says of settings it cannot use"
    assert "nonsense" in log.read_text()
    assert errors == b"", "from its role on it writes to that process's log"


def test_a_spare_without_a_role_ends_with_its_supervisor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    spare = started(theirs)
    theirs.close()
    assert ours.recv(64) == IMPORTED
    ours.close()
    _, errors = spare.communicate(timeout=20)
    assert (spare.returncode, errors) == (0, b"")
