"""A small value that all feed processes of a host share: a file under a lock.

The lock is the kernel's (``flock``): it ends with the process that holds it, however that ends. It
is held for one read and one write; nobody waits for it: who finds it taken is told so and comes
again. A value that cannot be read (a half-written one, another version's) counts as a new one.

Whoever can write in the directory can stop our feeds. So it is, unless set otherwise, one of this
user alone (0700). Where the feeds of several users of a host are to keep one budget together, since
venues count by address, the setting names a directory that a group owns together: writable by that
group, by nobody else, and with the set-group-ID bit, so that each file in it is the group's.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from bus.errors import ConfigError
from bus.feeds.errors import FeedError
from bus.runtime import get_logger

_log = get_logger("feeds.shared")

MAX_BYTES: Final = 262_144

V = TypeVar("V", bound=msgspec.Struct)
R = TypeVar("R")


class Busy(FeedError):
    """Another process holds the lock at this moment."""


def default_directory() -> Path:
    """Where all feeds of this user on this host meet, whatever their settings."""
    return Path(f"/tmp/mdbus-shared-{os.getuid()}")  # noqa: S108 - made 0700, owner checked


def private_directory(path: Path, setting: str) -> Path:
    """The directory, made if need be. Raises ConfigError when it is not ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError.of(setting, f"cannot make {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        why = f"{path} must be a directory of this user alone (mode 0700)"
        raise ConfigError.of(setting, why)
    return path


def meeting_directory(path: Path, setting: str) -> Path:
    """The directory that a setting names: a private one, or one of a group.

    Made private if there is none. Raises ConfigError when others may write there, or we may not.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return private_directory(path, setting)
    if not stat.S_ISDIR(mode) or not mode & stat.S_IWGRP:
        return private_directory(path, setting)
    if mode & stat.S_IWOTH:
        raise ConfigError.of(setting, f"anybody may write in {path}: chmod o-w")
    if not mode & stat.S_ISGID:
        why = f"{path} is a group's, but new files in it would not be: chmod g+s"
        raise ConfigError.of(setting, why)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError.of(setting, f"this user may not write in {path}: join its group")
    return path


def open_in(path: Path) -> int:
    """A file there, open for reading and writing, made if need be: the group's where the directory
    is a group's, else ours alone. Raises OSError.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(path, flags, 0o600)
    found = os.fstat(fd)
    is_news = found.st_uid == os.geteuid() and not found.st_mode & stat.S_IWGRP
    if is_news and path.parent.stat().st_mode & stat.S_IWGRP:
        os.fchmod(fd, 0o660)
    return fd


def file_name(kind: str, subject: str) -> str:
    """A name for what concerns ``subject`` (an address, a key), which is not to be read from it."""
    return f"{kind}-{hashlib.sha256(subject.encode()).hexdigest()[:16]}"


class Shared(Generic[V]):
    """A value of type ``kind``: in a file, or (``path`` None) of this object alone."""

    def __init__(self, kind: type[V], path: Path | None = None) -> None:
        self._kind = kind
        self._path = path
        self._own = kind()
        self._fd = -1
        self._decoder = msgspec.json.Decoder(kind)
        self.fresh_starts = 0

    def change(self, act: Callable[[V], R]) -> R:
        """Run ``act`` on the value and keep what it made of it. Raises Busy.

        When the file cannot be used at all, the value is this process's own from then on.
        """
        if self._path is None:
            return act(self._own)
        try:
            fd = self._locked(self._path)
        except BlockingIOError:
            raise Busy(f"{self._path.name} is in use") from None
        except OSError as error:
            self._go_on_alone(self._path, error)
            return act(self._own)
        try:
            value = self._read(fd)
            result = act(value)
            text = msgspec.json.encode(value)
            try:
                os.pwrite(fd, text.ljust(max(len(text), os.fstat(fd).st_size)), 0)
            except OSError as error:  # no space left, as a rule: no reason for a feed to end
                self._own = value
                self._go_on_alone(self._path, error)
            return result
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)

    def _go_on_alone(self, path: Path, error: OSError) -> None:
        _log.error("not shared with other processes", file=path, reason=error.strerror)
        self._path = None

    def close(self) -> None:
        """Free the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _locked(self, path: Path) -> int:
        """The file, opened and locked; opened anew when somebody has deleted it."""
        for _ in range(3):
            if self._fd < 0:
                self._fd = open_in(path)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(self._fd).st_nlink:
                return self._fd
            self.close()
        raise OSError(0, "it is deleted again and again", str(path))

    def _read(self, fd: int) -> V:
        data = os.pread(fd, MAX_BYTES, 0)
        if not data:
            return self._kind()
        try:
            return self._decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.fresh_starts += 1
            return self._kind()


class OnlyOne:
    """A right that one process at a time has, such as the use of a key; held until ``release``.

    The file holds the owner's pid, for the message to the one that comes second.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def take(self) -> int | None:
        """None: it is ours. Else the pid of the process that has it (0: not known)."""
        if self._fd >= 0:
            return None
        fd = open_in(self._path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 32, 0).strip()
            os.close(fd)
            return int(text) if text.isdigit() else 0
        if not os.fstat(fd).st_nlink:  # deleted between open and lock
            os.close(fd)
            return self.take()
        os.ftruncate(fd, 0)
        with contextlib.suppress(OSError):  # on a full disk: the lock is the right, the pid a note
            os.pwrite(fd, str(os.getpid()).encode(), 0)
        self._fd = fd
        return None

    def release(self) -> None:
        """Give it back."""
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1
