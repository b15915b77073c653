"""A process that has imported the code of all others, and forks one whenever it is told to.

``python -m bus.runtime.template FD CONFIG MODULE…`` is started by the supervisor with one end of a
socket pair, which keeps messages apart. It imports the modules, calls the function ``prepare`` of
those that have one (which does what is slow the first time only), reads the settings, says
`IMPORTED`, and obeys:

* `FORK` and `FORK_SPARE`, with one end of another socket pair: a process is made that waits at it
  for its role (see `bus.runtime.spare`), at once or for a while;
* `CHECK`: it answers `CURRENT` while the files it was imported from are as they were, else
  `CHANGED`.

What it forks is a child of the supervisor and not of the template: it is forked twice, and the one
in between ends at once, which leaves the child to the supervisor as the subreaper of all. So exit
codes, the parent-death signal and the killing of groups are as for a process that the supervisor
started itself, and the template may die without anybody minding.

It has no ZeroMQ context, no event loop and no thread, and refuses to fork if it finds that an
import has made one: of several threads only one would live on in the child, with the locks of the
others held for ever. A module that cannot be imported is left to the process that needs it, which
will have the better words.
"""

from __future__ import annotations

import codecs
import contextlib
import gc
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

from bus.config.load import load, prepare
from bus.errors import ConfigError
from bus.runtime import foreign_log as foreign_log  # which each process is about to need
from bus.runtime import spare
from bus.runtime.guard import die_with_parent
from bus.runtime.process import read_arguments
from bus.runtime.template_words import (
    CHANGED,
    CHECK,
    CURRENT,
    FORK,
    FORK_SPARE,
    IMPORTED,
    MAX_WORD_BYTES,
)

_GO: Final = b"."

Print = dict[str, tuple[int, int, int]]
"""Files by path: the time of the last change in ns, the size and the inode of each."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until the supervisor is gone; in a forked process, the exit code of its role."""
    begun_ns = time.time_ns()
    descriptor, config, *modules = sys.argv[1:] if argv is None else argv
    supervisor_pid = os.getppid()
    channel = socket.socket(fileno=int(descriptor))
    os.set_inheritable(channel.fileno(), False)
    die_with_parent(signal.SIGKILL)  # the socket's end covers the time before
    gc.disable()
    for module in modules:
        _import(module)
    prepare()
    with contextlib.suppress(ConfigError):  # whom it concerns will say so
        load(config)
    read_arguments(["--config", config, "--name", "template"])
    codecs.lookup("idna")  # what every host's name goes through
    gc.collect()
    gc.freeze()  # what was imported stays, and its pages stay shared: no collection looks at it
    files = fingerprint(sys.modules.values())
    if _threads() > 1:
        sys.stderr.write("template: an import has started a thread; nothing can be forked\n")
        return 1
    try:
        with channel:
            channel.sendall(IMPORTED)
            made = _serve(channel, supervisor_pid, files, begun_ns)
    except ConnectionError:
        return 0
    if made is None:
        return 0
    gc.enable()
    place, is_spare = made
    with place:
        return spare.wait_and_play(place, is_spare=is_spare)


def fingerprint(modules: Iterable[ModuleType]) -> Print:
    """The files that ``modules`` and the interpreter itself come from, as they are now.

    A file that is not there has zeros.
    """
    paths = {str(getattr(module, "__file__", None) or "") for module in list(modules)}
    return {path: _facts(path) for path in {*paths, os.path.realpath(sys.executable)} - {""}}


def is_current(files: Print, begun_ns: int) -> bool:
    """Whether ``files`` are as they were, and were no younger than the import that ``begun_ns``
    (wall clock) began: one that changed meanwhile may have been read before or after.
    """
    return all(facts == _facts(path) and facts[0] < begun_ns for path, facts in files.items())


def _import(name: str) -> None:
    try:
        module = importlib.import_module(name)
        if first := getattr(module, "prepare", None):
            first()
    except Exception as error:  # noqa: BLE001 - any code may be broken in any way
        sys.stderr.write(f"template: cannot import {name}: {type(error).__name__}: {error}\n")


def _serve(
    channel: socket.socket, supervisor_pid: int, files: Print, begun_ns: int
) -> tuple[socket.socket, bool] | None:
    """Obey until the supervisor is gone: None. In a forked process: the socket it is to wait at,
    and whether that may take a while.
    """
    while True:
        command, fds, _, _ = socket.recv_fds(channel, MAX_WORD_BYTES, 1)
        if not command:
            return None
        if command == CHECK:
            channel.sendall(CURRENT if is_current(files, begun_ns) else CHANGED)
        elif command in (FORK, FORK_SPARE) and fds:
            place = socket.socket(fileno=fds[0])
            if _fork(supervisor_pid):
                return place, command == FORK_SPARE
            place.close()


def _fork(supervisor_pid: int) -> bool:
    """Make a child of the supervisor; True in it, False here."""
    gate, opener = os.pipe()
    try:
        between = os.fork()
    except OSError as error:
        sys.stderr.write(f"template: cannot fork: {error}\n")
        os.close(gate)
        os.close(opener)
        return False
    if between == 0:
        _fork_again_and_end()
        os.close(opener)
        _settle(gate, supervisor_pid)
        os.close(gate)
        return True
    os.close(gate)
    os.waitpid(between, 0)
    with open(opener, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        try:
            file.write(_GO)  # from here on the child is the supervisor's
        except BrokenPipeError:  # it could not be made, or has died
            return False
    return False


def _fork_again_and_end() -> None:
    """Go on in a further process and end this one, whatever happens."""
    try:
        if os.fork() == 0:
            return
    except OSError as error:
        sys.stderr.write(f"template: cannot fork: {error}\n")
    os._exit(0)


def _settle(gate: int, supervisor_pid: int) -> None:
    """Become a process as the supervisor starts them: a leader, and dead when it is dead."""
    os.setsid()
    if os.read(gate, 1) != _GO:
        os._exit(0)  # the template died half-way
    die_with_parent(signal.SIGKILL)
    if os.getppid() != supervisor_pid:
        os._exit(0)


def _facts(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - of hundreds of files
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def _threads() -> int:
    """How many threads this process has, those of C libraries included."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
