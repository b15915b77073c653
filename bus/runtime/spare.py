"""A process that has its code and waits to be told which process it is.

It was forked by the template (`bus.runtime.template`) and holds one end of a socket pair. It says
its pid and waits; for a longer wait it takes its memory to itself first, which the start is then
spared. What it is told is one line of JSON, `Role`, with the listening socket, if
there is one, as a passed descriptor. From there on it is that process, exactly as if it had been
started as one: nearly all of a start is Python importing code, and that is already done. The
supervisor's end closed is its end too.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
from dataclasses import asdict, dataclass

from bus.runtime.guard import set_process_name
from bus.runtime.log import reopen
from bus.runtime.pages import own_pages
from bus.runtime.title import show_as

MAX_ROLE_BYTES = 64 * 1024
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


def wait_and_play(channel: socket.socket, *, is_spare: bool) -> int:
    """Say that this process is there, wait for its role and play it; the exit code, 0 when no role
    came. A spare has some time until then.
    """
    try:
        channel.sendall(b"%d\n" % os.getpid())
        if is_spare:
            show_as(__name__, [])
            own_pages()
        taken = receive_role(channel)
    except ConnectionError:
        return 0
    if taken is None:
        return 0
    channel.close()
    role, listen_fd = taken
    reopen(role.log_path)
    os.environ.update(role.environment)
    if role.listen_key and listen_fd is not None:
        os.environ[role.listen_key] = str(listen_fd)
    set_process_name(role.arguments[role.arguments.index("--name") + 1])
    show_as(role.module, role.arguments)
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
