"""The supervisor takes its own place: new code, the same process, the same children.

`Handover` is all that the old program knows and the new one must: which processes run and in what
state, which descriptors to keep, where the settings came from. It is passed in memory, over
``execve``. The pid stays, so the processes keep their parent, the lock and the ports their owner.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bus.errors import MdbusError
from bus.supervision.origin import Origin
from bus.supervision.spawn import import_path

if TYPE_CHECKING:
    from bus.supervision.supervisor import Supervisor

VERSION: Final = 2
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""Held back between the two programs: neither would know what to do with them."""
_NL: Final = "\n"
_TRIAL: Final = "import bus.supervision.up, bus.supervision.handover as h; print(h.VERSION)"


class HandoverError(MdbusError):
    """The supervisor cannot be replaced; it goes on as it was."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What passes from one program to the next.

    ``units`` holds the facts of each process by name, ``descriptors`` those of the premises,
    ``links`` name, generation and descriptors of the link to each process, ``origin`` where the
    settings came from (None: nowhere that can be read again).
    """

    settings_file: str
    origin: Mapping[str, Any] | None
    started_at_ns: int
    detached: bool
    descriptors: Mapping[str, Any]
    links: Sequence[Sequence[Any]]
    units: Mapping[str, Mapping[str, Any]]
    version: int = VERSION

    def settings_origin(self) -> Origin | None:
        """Where to read the settings again."""
        if self.origin is None:
            return None
        return Origin(
            Path(self.origin["file"]),
            bool(self.origin["required"]),
            tuple(self.origin["overrides"]),
            tuple(self.origin["feeds"]),
        )


def capture(supervisor: Supervisor, links: Sequence[Sequence[Any]], *, detached: bool) -> Handover:
    """All there is to pass on now, with the ``links`` to the processes."""
    origin = supervisor.origin
    facts = None if origin is None else {**asdict(origin), "file": str(origin.file)}
    return Handover(
        settings_file=str(supervisor.premises.directory.effective_config),
        origin=facts,
        started_at_ns=supervisor.started_at_ns,
        detached=detached,
        descriptors=supervisor.premises.descriptors(),
        links=links,
        units={unit.name: unit.facts() for unit in supervisor.units.values()},
    )


def hold_signals() -> None:
    """Hold `SIGNALS` back from this thread until `release_signals`, also across ``execve``."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def quiet_threads() -> ThreadPoolExecutor:
    """Threads that no signal of `SIGNALS` is given to: it would get past `hold_signals`."""
    return ThreadPoolExecutor(max_workers=4, initializer=hold_signals)


def release_signals() -> None:
    """Let what was held back come; handlers must be there."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def become(handover: Handover, environment: Mapping[str, str]) -> None:
    """Run the program anew in this very process; returns only by `OSError`."""
    fd = os.memfd_create("mdbus-handover", 0)
    os.write(fd, json.dumps(asdict(handover)).encode())
    kept = handover.descriptors
    links = (fd for _, _, *fds in handover.links for fd in fds)
    for each in (kept["lock"], *kept["lifeline"], *kept["listeners"], *links, fd):
        if each >= 0:
            os.set_inheritable(each, True)
    arguments = ["-P", "-m", "bus.supervision", "up", "--resume-fd", str(fd)]
    merged = {**os.environ, **environment, **import_path(os.environ)}
    os.execve(sys.executable, [sys.executable, *arguments], merged)  # noqa: S606


def received(fd: int) -> Handover:
    """What the program before this one passed on. Raises `HandoverError` for what is none."""
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        text = file.read()
    try:
        facts = json.loads(text)
        if facts["version"] != VERSION:
            raise HandoverError(f"handed over in version {facts['version']}, this is {VERSION}")
        return Handover(**facts)
    except (ValueError, KeyError, TypeError) as error:
        raise HandoverError(f"what was handed over cannot be read: {error}") from error


async def try_out(timeout_s: float, helpers: set[int]) -> None:
    """Run the code that is installed now far enough to know that it loads and speaks our version.

    Its pid is in ``helpers`` while it runs. Raises `HandoverError` with its own words when it
    does not.
    """
    trial = subprocess.Popen(  # noqa: ASYNC220 - a few ms; its pid must be known before any await
        [sys.executable, "-P", "-c", _TRIAL],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **import_path(os.environ)},
    )
    helpers.add(trial.pid)
    try:
        said, errors = await asyncio.to_thread(trial.communicate, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        trial.kill()
        await asyncio.to_thread(trial.communicate)
        raise HandoverError(f"the new code did not load within {timeout_s:g} s") from None
    finally:
        helpers.discard(trial.pid)
    if trial.returncode != 0:
        raise HandoverError(f"the new code does not load: {errors.strip().rpartition(_NL)[2]}")
    if said.strip() != str(VERSION):
        raise HandoverError("the new code speaks another version: mdbus down, then mdbus up")
