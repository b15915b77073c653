"""A process that has its code and waits to be told which process it is.

It was forked by the template (`bus.runtime.template`) and holds one end of a socket pair. It says
its pid and waits; for a longer wait it takes its memory to itself first, which the start is then
spared. What it is told is one line of JSON, `Role`, with its link and the listening socket,
if there is one, as passed descriptors. From there on it is that process, exactly as if it
had been started as one: nearly all of a start is Python importing code, and that is already done.
The supervisor's end closed is its end too.
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
_MAX_FDS = 3


@dataclass(frozen=True, slots=True)
class Role:
    """Which process to be: its package, the arguments of its ``main``, where it logs to, and the
    environment variables to add. ``descriptor_keys`` name the variables that are to hold the
    numbers of the passed descriptors, in their order.
    """

    module: str
    arguments: tuple[str, ...]
    log_path: str
    environment: dict[str, str]
    descriptor_keys: tuple[str, ...] = ()

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
    role, descriptors = taken
    reopen(role.log_path)
    os.environ.update(role.environment)
    os.environ.update(zip(role.descriptor_keys, map(str, descriptors), strict=True))
    set_process_name(role.arguments[role.arguments.index("--name") + 1])
    show_as(role.module, role.arguments)
    door = importlib.import_module(f"{role.module}.__main__")
    exit_code: int = door.main(role.arguments)
    return exit_code


def receive_role(channel: socket.socket) -> tuple[Role, list[int]] | None:
    """The role and the passed descriptors; None when the supervisor has gone.

    Raises `ValueError` for a line that is no role.
    """
    line = b""
    fds: list[int] = []
    while not line.endswith(b"\n"):
        if len(line) > MAX_ROLE_BYTES:
            raise ValueError("a role of more than 64 KiB")
        part, passed, _, _ = socket.recv_fds(channel, MAX_ROLE_BYTES, _MAX_FDS)
        if not part:
            return None
        line += part
        fds += passed
    facts = json.loads(line)
    listed = {key: tuple(facts[key]) for key in ("arguments", "descriptor_keys")}
    return Role(**{**facts, **listed}), fds
