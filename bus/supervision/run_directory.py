"""The run directory: private, owned by one supervisor at a time, cleaned of what a dead one left.

``supervisor.pid`` is locked for as long as the supervisor lives; a lock dies with its process, so
that no stale file ever keeps the next one out. ``pids/NAME.GENERATION`` records each process with
the kernel's start time, so that a left-over is recognised and a stranger with the same pid is not.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import select
import signal
import stat
import time
from pathlib import Path

from bus.errors import MdbusError
from bus.runtime.log import get_logger
from bus.supervision.lock import running_pid

_SOCKETS = ("control.sock", "publish.sock", "subscribe.sock")
_SIGNS = ("supervisor.pid", "effective.toml")
"""One of these shows that a supervisor was here before."""
_KNOWN = frozenset((*_SIGNS, *_SOCKETS, "log", "pids", "shared", "mdbus.toml"))
"""A directory that holds nothing else may be used; the settings file may lie in it."""
_SHOWN = 3
_STALE_WAIT_S = 2.0
_LEAST_FREE_BYTES = 1_048_576
"""What a start writes, some times over: a process that cannot write its part of it fails."""
_LOCK_TRIES = 20
_LOCK_PAUSE_S = 0.01

_log = get_logger("supervision.run_directory")


class RunDirectoryError(MdbusError):
    """The run directory cannot be used; the message says why."""


class AlreadyRunningError(MdbusError):
    """Another supervisor holds this run directory."""

    def __init__(self, path: Path, pid: int | None) -> None:
        self.path = path
        self.pid = pid
        who = f"with pid {pid}" if pid else "of unknown pid"
        super().__init__(
            f"already running in {path}: supervisor {who} "
            "(see it with `mdbus status`, stop it with `mdbus down`)"
        )


class RunDirectory:
    """The directory at ``path``, made with mode 0700 and locked by `lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd: int | None = None

    @property
    def log_dir(self) -> Path:
        """Where the processes' log files are."""
        return self.path / "log"

    @property
    def own_log(self) -> Path:
        """The supervisor's own log, when it runs in the background."""
        return self.log_dir / "supervisor.log"

    @property
    def effective_config(self) -> Path:
        """The settings in force, as handed to every process."""
        return self.path / "effective.toml"

    def check(self) -> bool:
        """Whether nothing was here before; raises `RunDirectoryError` when it is not for us.

        Changes nothing. For us is what does not exist yet, what is empty, and what is private and
        was a run directory before or holds nothing but what a run directory does.
        """
        try:
            if self.path.is_symlink() and self.path.parent.stat().st_mode & stat.S_ISVTX:
                raise RunDirectoryError(
                    f"{self.path} is a symbolic link in a directory anybody may write to; "
                    "refusing to follow it"
                )
            try:
                facts = self.path.stat()
            except FileNotFoundError:
                return True
            if not stat.S_ISDIR(facts.st_mode):
                raise RunDirectoryError(f"{self.path} is not a directory")
            if facts.st_uid != os.getuid():
                raise RunDirectoryError(f"{self.path} belongs to another user (uid {facts.st_uid})")
            held = sorted(entry.name for entry in self.path.iterdir())
        except OSError as error:
            raise RunDirectoryError(f"cannot use {self.path}: {error.strerror}") from error
        mode = stat.S_IMODE(facts.st_mode)
        ours = not mode & 0o077 and (_KNOWN.issuperset(held) or not set(held).isdisjoint(_SIGNS))
        if held and not ours:
            names = ", ".join(held[:_SHOWN]) + (", …" if len(held) > _SHOWN else "")
            raise RunDirectoryError(
                f"{self.path} is not a run directory of mdbus (mode {mode:04o}, holds {names}): "
                "name an empty or new one"
            )
        return not held

    def lock(self) -> None:
        """Create the directory and take it for this process.

        Raises `AlreadyRunningError` when a supervisor lives there, `RunDirectoryError` as `check`
        does and when the disk is full, before anything in it is touched.
        """
        self._create()
        self._check_space()
        try:
            fd = os.open(self.path / "supervisor.pid", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise RunDirectoryError(f"cannot write in {self.path}: {error.strerror}") from error
        if not _take(fd):
            os.close(fd)
            raise AlreadyRunningError(self.path, running_pid(self.path))
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError as error:  # no space left, as a rule
            os.close(fd)
            raise RunDirectoryError(f"cannot write in {self.path}: {error.strerror}") from error
        self._lock_fd = fd

    def _check_space(self) -> None:
        if running_pid(self.path) is not None:
            return  # which is what to be told first
        found = os.statvfs(self.path)
        free = found.f_bavail * found.f_frsize
        if found.f_blocks and free < _LEAST_FREE_BYTES:  # some file systems do not count
            raise RunDirectoryError(
                f"cannot run in {self.path}: {free // 1024} KiB of disk space are left there, "
                f"{_LEAST_FREE_BYTES // 1024} KiB are needed to begin; free some, or name another "
                "directory with --run-dir"
            )

    @property
    def lock_fd(self) -> int:
        """The descriptor that holds the lock; whoever inherits it holds the directory."""
        assert self._lock_fd is not None
        return self._lock_fd

    def resume(self, lock_fd: int) -> None:
        """Hold the directory by the descriptor of the program that this one took the place of."""
        os.set_inheritable(lock_fd, False)
        self._lock_fd = lock_fd

    def unlock(self) -> None:
        """Remove the sockets and give the directory up; logs stay."""
        if self._lock_fd is None:
            return
        for name in _SOCKETS:
            (self.path / name).unlink(missing_ok=True)
        os.ftruncate(self._lock_fd, 0)
        os.close(self._lock_fd)
        self._lock_fd = None

    def remove_stale(self) -> list[int]:
        """End the processes a dead supervisor left behind; their pids. Call it locked.

        A process is only touched when both its pid and its start time are those recorded.
        """
        for name in _SOCKETS:
            (self.path / name).unlink(missing_ok=True)
        removed: list[int] = []
        for record in sorted((self.path / "pids").iterdir()):
            pid = _recorded_process(record)
            if pid is not None and _kill_recorded(record, pid):
                removed.append(pid)
            record.unlink(missing_ok=True)
        return removed

    def write_effective(self, text: str) -> None:
        """Replace the settings in force as a whole: whoever reads sees the old or the new.

        Raises `RunDirectoryError` when they cannot be written; the old ones are then still there.
        """
        fresh = self.effective_config.with_suffix(".new")
        try:
            fresh.touch(mode=0o600)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self.effective_config)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise RunDirectoryError(
                f"cannot write {self.effective_config}: {error.strerror}"
            ) from error

    def record(self, name: str, pid: int) -> None:
        """Remember that ``name`` runs as ``pid``."""
        facts = {"pid": pid, "start_time": start_time(pid)}
        (self.path / "pids" / name).write_text(json.dumps(facts), encoding="utf-8")

    def forget(self, name: str) -> None:
        """``name`` does not run any more."""
        (self.path / "pids" / name).unlink(missing_ok=True)

    def _create(self) -> None:
        """Make the directory; nothing is made inside one that is not certainly ours."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.check()
            if stat.S_IMODE(self.path.stat().st_mode) & 0o077:  # empty, as `check` has found
                self.path.chmod(0o700)
            for directory in (self.log_dir, self.path / "pids"):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"cannot make the run directory {self.path}: {error.strerror}"
            ) from error


def _take(fd: int) -> bool:
    """Lock the file; False when another supervisor has it, and keeps it.

    Whoever asks for the supervisor's pid holds it too, for some microseconds: see `running_pid`.
    """
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False


def start_time(pid: int) -> int | None:
    """The kernel's start time of ``pid`` in clock ticks since boot, or None if it is gone (or if
    this pid namespace has no ``/proc`` that could tell).
    """
    from bus.runtime.guard import proc_is_ours  # not for who only looks at a directory

    if not proc_is_ours():
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[19])


def _recorded_process(record: Path) -> int | None:
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        pid, recorded = int(facts["pid"]), int(facts["start_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if pid > 1 and start_time(pid) == recorded else None


def _kill_recorded(record: Path, pid: int) -> bool:
    """Kill ``pid`` and its group through a handle that cannot mean another process."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if _recorded_process(record) != pid:  # it ended and the pid was given away meanwhile
            return False
        _log.warning("removing a process that a dead supervisor left", name=record.name, pid=pid)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], _STALE_WAIT_S)
        return True
    except OSError as error:
        if error.errno == errno.EPERM:
            return False
        raise
    finally:
        os.close(handle)
