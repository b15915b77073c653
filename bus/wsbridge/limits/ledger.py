"""What the bridge workers of this host count together: an SQLite file in a private directory.

Users' requests, users' and addresses' connections, tickets that were used. One transaction a
question (20 to 40 µs), so two workers never both give away the last place. The file is a matter of
the moment: nothing is synced to disk, and it may be deleted while no worker runs.

A worker holds a lock on a file of its own for as long as it lives; the kernel lets go of it however
the worker ends. Whoever finds such a lock free takes the dead worker's rows out, at start, once a
second, and before it refuses anybody for a count.

What cannot be asked is refused: :class:`LedgerError` says why, and the caller turns it into a
refusal. Nobody is let in because the ledger is broken.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bus.errors import MdbusError
from bus.wsbridge.limits.bucket import Rate

OPEN_S: Final = 5.0
"""How long a worker that starts waits for the others; it serves nobody yet."""
BUSY_S: Final = 0.1
"""How long a worker waits for another one's transaction before it refuses."""
MAX_TICKETS: Final = 100_000
"""Used tickets remembered; beyond it no ticket is accepted until some have ended."""
REAP_EVERY_NS: Final = 1_000_000_000
TIDY_EVERY_NS: Final = 60_000_000_000
_NS_PER_S: Final = 1_000_000_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS worker (id TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS connection (
    id INTEGER PRIMARY KEY AUTOINCREMENT, worker TEXT NOT NULL, user TEXT, address TEXT,
    ending INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS connection_user ON connection (user) WHERE user IS NOT NULL;
CREATE INDEX IF NOT EXISTS connection_address ON connection (address) WHERE address IS NOT NULL;
CREATE INDEX IF NOT EXISTS connection_ending ON connection (worker) WHERE ending != 0;
CREATE TABLE IF NOT EXISTS bucket (
    owner TEXT PRIMARY KEY, full_at_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ticket (id TEXT PRIMARY KEY, until_s REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ticket_until ON ticket (until_s);
PRAGMA user_version = 1;
"""

REPLACED: Final = 1
KICKED: Final = 2


class LedgerError(MdbusError):
    """The ledger cannot be asked now. ``reason`` is a word for logs and counters."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A limit is reached; ``retry_after_s`` as far as it is known."""

    limit: str
    retry_after_s: int


class Ledger:
    """This worker's view of the shared file. Not for use by several threads."""

    def __init__(self, directory: Path, worker: str) -> None:
        """Open or make the ledger in ``directory``. Raises LedgerError."""
        self._directory = directory
        self._id = f"{worker}-{secrets.token_hex(4)}"
        self._lock_fd = -1
        self._reaped_ns = 0
        self._tidied_ns = 0
        self._unleft: list[int] = []
        try:
            _make_private(directory.parent)
            _make_private(directory)
            self._lock_fd = self._lock(self._lock_path(self._id))
            self._db = sqlite3.connect(
                directory / "ledger.db", timeout=OPEN_S, isolation_level=None, cached_statements=64
            )
        except (OSError, sqlite3.Error) as error:
            self._free_lock()
            raise LedgerError(f"cannot open the ledger in {directory}: {_why(error)}") from None
        try:
            (directory / "ledger.db").chmod(0o600)
            with self._alone():
                self._db.execute("PRAGMA journal_mode=WAL").fetchone()
                self._db.execute("PRAGMA synchronous=OFF")
                self._db.execute("PRAGMA wal_autocheckpoint=256")
                self._make_tables()
            with self._change() as db:
                db.execute("INSERT INTO worker VALUES (?, ?)", (self._id, worker))
            self._reap()
            self._db.execute(f"PRAGMA busy_timeout={int(BUSY_S * 1000)}")
        except (OSError, sqlite3.Error, LedgerError) as error:
            self.close()
            raise LedgerError(f"cannot use the ledger in {directory}: {_why(error)}") from None

    # ------------------------------------------------------------------ connections

    def arrive(self, address: str, *, most: int, rate: Rate, now_ns: int) -> int | Refusal:
        """A new connection of ``address``: its number, or the limit that it breaks.

        ``most`` connections at once; ``rate`` for new ones.
        """
        for is_last_try in (False, True):
            with self._change() as db:
                count = db.execute(
                    "SELECT count(*) FROM connection WHERE address = ? AND ending = 0", (address,)
                ).fetchone()[0]
                if count < most:
                    wait_ns = self._take(db, f"ip:{address}", rate, now_ns)
                    if wait_ns:
                        return Refusal("new_connections_per_ip", _seconds(wait_ns))
                    return self._insert(db, None, address)
            if is_last_try or not self._reap():
                break
        return Refusal("connections_per_ip", 10)

    def enter(self) -> int:
        """A connection that no address is counted for: its number."""
        with self._change() as db:
            return self._insert(db, None, None)

    def identify(self, number: int, user: str, *, most: int, newest_wins: bool) -> Refusal | None:
        """Connection ``number`` turns out to be ``user``'s. None: it may stay.

        When there are ``most`` others already, the oldest of them is marked to be closed by its
        worker, or this one is refused.
        """
        for is_last_try in (False, True):
            with self._change() as db:
                others = db.execute(
                    "SELECT id FROM connection WHERE user = ? AND ending = 0 AND id != ? "
                    "ORDER BY id",
                    (user, number),
                ).fetchall()
                surplus = len(others) + 1 - most
                if surplus <= 0 or (is_last_try and newest_wins and most > 0):
                    db.executemany(
                        "UPDATE connection SET ending = ? WHERE id = ?",
                        [(REPLACED, other) for (other,) in others[: max(0, surplus)]],
                    )
                    db.execute("UPDATE connection SET user = ? WHERE id = ?", (user, number))
                    return None
            if not is_last_try:
                self._reap()
        return Refusal("connections_per_user", 10)

    def leave(self, number: int) -> None:
        """A connection is over. Never raises: what cannot be written now is in :meth:`tend`."""
        self._unleft.append(number)
        with suppress(LedgerError):
            self._give_back()

    def kick(self, *, user: str | None = None, address: str | None = None) -> int:
        """Mark connections of a user or address, on every worker, to be closed; how many."""
        with self._change() as db:
            done = db.execute(
                "UPDATE connection SET ending = ? WHERE ending = 0 AND (user = ? OR address = ?)",
                (KICKED, user, address),
            )
            return done.rowcount

    def ending(self) -> list[tuple[int, int]]:
        """Connections of this worker that are to be closed, as (number, REPLACED or KICKED).

        Asked 20 times a second (5 µs when there is none). Each is told once.
        """
        try:
            found: list[tuple[int, int]] = self._db.execute(
                "SELECT id, ending FROM connection INDEXED BY connection_ending "
                "WHERE worker = ? AND ending != 0",
                (self._id,),
            ).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(_why(error)) from None
        if found:
            with self._change() as db:
                db.executemany("DELETE FROM connection WHERE id = ?", [(one,) for one, _ in found])
        return found

    # ------------------------------------------------------------------ users and tickets

    def act(self, user: str, per_minute: int, now_ns: int) -> int:
        """Take one of a user's requests: 0, or the nanoseconds until there is one."""
        with self._change() as db:
            return self._take(db, f"user:{user}", Rate(per_minute, 60 * _NS_PER_S), now_ns)

    def use_ticket(self, ticket: str, until_s: float, now_ns: int) -> bool:
        """Whether this is the first use of the ticket; it is remembered until ``until_s``.

        Raises LedgerError when no more tickets can be remembered.
        """
        with self._change() as db:
            if db.execute("SELECT 1 FROM ticket WHERE id = ?", (ticket,)).fetchone():
                return False
            count = db.execute("SELECT count(*) FROM ticket").fetchone()[0]
            if count >= MAX_TICKETS:
                db.execute("DELETE FROM ticket WHERE until_s <= ?", (now_ns / _NS_PER_S,))
                count = db.execute("SELECT count(*) FROM ticket").fetchone()[0]
                if count >= MAX_TICKETS:
                    raise LedgerError("too many tickets are in use")
            db.execute("INSERT INTO ticket VALUES (?, ?)", (ticket, until_s))
            return True

    # ------------------------------------------------------------------ upkeep

    def tend(self, now_ns: int) -> None:
        """Once a second: take out what dead workers left; once a minute: what has ended."""
        if abs(now_ns - self._reaped_ns) >= REAP_EVERY_NS:
            self._reaped_ns = now_ns
            if self._unleft:
                self._give_back()
            self._reap()
        if abs(now_ns - self._tidied_ns) >= TIDY_EVERY_NS:
            self._tidied_ns = now_ns
            with self._change() as db:
                db.execute("DELETE FROM ticket WHERE until_s <= ?", (now_ns / _NS_PER_S,))
                db.execute("DELETE FROM bucket WHERE full_at_ns <= ?", (now_ns,))

    def counts(self) -> dict[str, int]:
        """Connections, users and workers on this host, as the ledger knows them."""
        try:
            connections, users = self._db.execute(
                "SELECT count(*), count(DISTINCT user) FROM connection WHERE ending = 0"
            ).fetchone()
            workers = self._db.execute("SELECT count(*) FROM worker").fetchone()[0]
            tickets = self._db.execute("SELECT count(*) FROM ticket").fetchone()[0]
        except sqlite3.Error as error:
            raise LedgerError(_why(error)) from None
        return {
            "connections": connections,
            "users": users,
            "workers": workers,
            "tickets": tickets,
        }

    def close(self) -> None:
        """Give back every place of this worker."""
        if self._lock_fd < 0:
            return
        try:
            with self._change() as db:
                db.execute("DELETE FROM connection WHERE worker = ?", (self._id,))
                db.execute("DELETE FROM worker WHERE id = ?", (self._id,))
            self._lock_path(self._id).unlink(missing_ok=True)
        except (LedgerError, OSError):  # the lock is let go below: the others will clear up
            pass
        finally:
            with suppress(OSError), self._alone():
                self._db.close()
            self._free_lock()

    # ------------------------------------------------------------------ inside

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(_why(error)) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The file comes into being, and its last user leaves it, with nobody else doing so.

        SQLite does not wait for that by itself. The lock ends with its holder.
        """
        path = self._directory / "open.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _make_tables(self) -> None:
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
            return
        with self._change() as db:
            for statement in _SCHEMA.split(";"):
                if statement.strip():
                    db.execute(statement)

    def _give_back(self) -> None:
        with self._change() as db:
            db.executemany("DELETE FROM connection WHERE id = ?", [(n,) for n in self._unleft])
        self._unleft.clear()

    def _insert(self, db: sqlite3.Connection, user: str | None, address: str | None) -> int:
        done = db.execute(
            "INSERT INTO connection (worker, user, address) VALUES (?, ?, ?)",
            (self._id, user, address),
        )
        assert done.lastrowid is not None, "a row was inserted"
        return done.lastrowid

    def _take(self, db: sqlite3.Connection, owner: str, rate: Rate, now_ns: int) -> int:
        found = db.execute("SELECT full_at_ns FROM bucket WHERE owner = ?", (owner,)).fetchone()
        full_at_ns, wait_ns = rate.take(found[0] if found else 0, now_ns)
        if not wait_ns:
            db.execute(
                "INSERT INTO bucket VALUES (?, ?) "
                "ON CONFLICT (owner) DO UPDATE SET full_at_ns = excluded.full_at_ns",
                (owner, full_at_ns),
            )
        return wait_ns

    def _reap(self) -> bool:
        """Take out the rows of workers whose lock is free; whether there were any."""
        try:
            workers = [row[0] for row in self._db.execute("SELECT id FROM worker").fetchall()]
        except sqlite3.Error as error:
            raise LedgerError(_why(error)) from None
        dead = [one for one in workers if one != self._id and self._is_dead(one)]
        for one in dead:
            with self._change() as db:
                db.execute("DELETE FROM connection WHERE worker = ?", (one,))
                db.execute("DELETE FROM worker WHERE id = ?", (one,))
            self._lock_path(one).unlink(missing_ok=True)
        return bool(dead)

    def _is_dead(self, worker: str) -> bool:
        try:
            fd = self._lock(self._lock_path(worker))
        except BlockingIOError:
            return False
        except OSError as error:
            raise LedgerError(_why(error)) from None
        os.close(fd)
        return True

    def _lock(self, path: Path) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def _lock_path(self, worker: str) -> Path:
        return self._directory / f"{worker}.lock"

    def _free_lock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _make_private(directory: Path) -> None:
    """Make a directory of this user alone. Raises OSError for one that others can get into."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, "must be a directory of this user alone (mode 0700)")


def _seconds(wait_ns: int) -> int:
    return max(1, -(-wait_ns // _NS_PER_S))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
