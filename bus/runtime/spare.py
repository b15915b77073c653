"""A process that has imported its code and waits to be told which process it is.

``python -m bus.runtime.spare FD MODULE…`` is started by the supervisor with one end of a socket
pair. It imports the modules, says so, and waits. What it is told then is one line of JSON,
`Role`, with the listening socket, if there is one, as a passed descriptor. From there on it is
that process, exactly as if it had been started as one: 97 % of a start is Python importing code,
and that is already done. The supervisor's end closed is its end too.

It has no ZeroMQ context, no loop and no thread before it has its role.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bus.config.load import prepare
from bus.runtime.log import reopen
from bus.runtime.process import read_arguments

IMPORTED = b"imported\n"
"""What a spare says when it is ready for a role."""
MAX_ROLE_BYTES = 64 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_MAX_FDS = 1


@dataclass(frozen=True, slots=True)
class Role:
    """Which process to be: its package, the arguments of its ``main``, where it logs to, and the
    environment variables to add. ``listen_key`` names the variable that is to hold the number of
    the passed descriptor; empty when none is passed.
    """

    module: str
    arguments: tuple[str, ...]
    log_path: str
    environment: dict[str, str]
    listen_key: str = ""

    def to_line(self) -> bytes:
        """The line that carries it."""
        return json.dumps(asdict(self)).encode() + b"\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Wait for a role and play it; its exit code, or 0 when none came."""
    descriptor, *modules = sys.argv[1:] if argv is None else argv
    with socket.socket(fileno=int(descriptor)) as channel:
        os.set_inheritable(channel.fileno(), False)
        channel.setblocking(True)
        _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))  # the socket's end covers the time before
        for module in modules:
            importlib.import_module(module)
        prepare()  # what is slow the first time only: a third of a role's start
        read_arguments([])
        gc.collect()
        gc.freeze()  # what was imported stays: no later collection need look at it
        try:
            channel.sendall(IMPORTED)
            taken = receive_role(channel)
        except ConnectionError:
            return 0
    if taken is None:
        return 0
    role, listen_fd = taken
    reopen(role.log_path)
    os.environ.update(role.environment)
    if role.listen_key and listen_fd is not None:
        os.environ[role.listen_key] = str(listen_fd)
    name = role.arguments[role.arguments.index("--name") + 1].encode()[:15]
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name))
    door = importlib.import_module(f"{role.module}.__main__")
    exit_code: int = door.main(role.arguments)
    return exit_code


def receive_role(channel: socket.socket) -> tuple[Role, int | None] | None:
    """The role and the passed descriptor; None when the supervisor has gone.

    Raises `ValueError` for a line that is no role.
    """
    line, fds = b"", []
    while not line.endswith(b"\n"):
        if len(line) > MAX_ROLE_BYTES:
            raise ValueError("a role of more than 64 KiB")
        part, passed, _, _ = socket.recv_fds(channel, MAX_ROLE_BYTES, _MAX_FDS)
        if not part:
            return None
        line += part
        fds += passed
    facts = json.loads(line)
    role = Role(**{**facts, "arguments": tuple(facts["arguments"])})
    return role, fds[0] if fds else None


def _prctl(option: int, value: object) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
