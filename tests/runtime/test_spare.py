"""A spare says who it is, waits, and becomes what it is told to be (see also `test_template`)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from bus.runtime.spare import Role, receive_role, wait_and_play


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


def test_a_role_arrives_whole_with_its_descriptors(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    sent = role(descriptor_keys=("FD", "FE"), environment={"A": "x" * 3_000})
    line = sent.to_line()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        socket.send_fds(ours, [line[:100]], [listener.fileno(), listener.fileno()])
        ours.sendall(line[100:])
        taken = receive_role(theirs)
        assert taken is not None
        got, fds = taken
        assert got == sent
        assert len(fds) == 2
        for fd in fds:
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


def test_a_process_says_its_pid_and_ends_when_there_is_no_role(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    ours.shutdown(socket.SHUT_WR)
    assert wait_and_play(theirs, is_spare=False) == 0
    assert ours.recv(64) == b"%d\n" % os.getpid()


def test_a_supervisor_that_is_gone_is_no_fault(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    assert wait_and_play(theirs, is_spare=False) == 0
