"""What the supervisor tells a process it starts, and how: environment variables.

Everything is in `Spawned`; a process started by hand finds none of it and runs alone. The
variables are removed as they are read, so that a grandchild never mistakes itself for the child.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass

LINK_KEY = "MDBUS_LINK_FD"
"""The variable that holds the number of the inherited end of the link."""
PULSE_KEY = "MDBUS_PULSE_FD"
"""The variable that holds the number of the inherited memory for heartbeats."""
_GENERATION = "MDBUS_GENERATION"
_PARENT = "MDBUS_PARENT_PID"
_LIFELINE = "MDBUS_LIFELINE_FD"
LISTEN_KEY = "MDBUS_LISTEN_FD"
"""The variable that holds the number of an inherited listening socket."""
_GRACE = "MDBUS_DRAIN_SECONDS"


@dataclass(frozen=True, slots=True)
class Spawned:
    """The facts of one spawn.

    ``link_fd`` is the process's end of the link to the supervisor, ``pulse_fd`` the memory where it
    leaves its heartbeats, ``generation`` counts the spawns of its name from 1, ``parent_pid`` is
    the supervisor, ``lifeline_fd`` a pipe that reads end-of-file when the supervisor is gone,
    ``listen_fd`` an inherited listening socket (None for most processes), ``drain_s`` how long the
    process may take to leave once its supervisor is gone.
    """

    link_fd: int
    pulse_fd: int
    generation: int
    parent_pid: int
    lifeline_fd: int
    listen_fd: int | None = None
    drain_s: float = 0.8

    def to_environment(self) -> dict[str, str]:
        """The variables to add to the child's environment."""
        variables = {
            LINK_KEY: str(self.link_fd),
            PULSE_KEY: str(self.pulse_fd),
            _GENERATION: str(self.generation),
            _PARENT: str(self.parent_pid),
            _LIFELINE: str(self.lifeline_fd),
            _GRACE: repr(self.drain_s),
        }
        if self.listen_fd is not None:
            variables[LISTEN_KEY] = str(self.listen_fd)
        return variables


def take_spawned(environment: MutableMapping[str, str]) -> Spawned | None:
    """Read and remove the supervisor's variables; None when there are none (run alone).

    Raises `ValueError` when they are there and cannot be read: somebody set them by hand.
    """
    names = (LINK_KEY, PULSE_KEY, _GENERATION, _PARENT, _LIFELINE, LISTEN_KEY, _GRACE)
    values = {name: environment.pop(name, None) for name in names}
    link = values[LINK_KEY]
    if not link:
        return None
    listen = values[LISTEN_KEY]
    return Spawned(
        link_fd=int(link),
        pulse_fd=int(values[PULSE_KEY] or ""),
        generation=int(values[_GENERATION] or ""),
        parent_pid=int(values[_PARENT] or ""),
        lifeline_fd=int(values[_LIFELINE] or ""),
        listen_fd=int(listen) if listen else None,
        drain_s=float(values[_GRACE] or "0.8"),
    )
