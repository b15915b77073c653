"""Tokens and users that are refused although their tokens hold: a file the operator edits.

One entry a line: the ``jti`` of a token, or ``sub:USER``; ``#`` begins a comment. The file is
looked at once a second and read again when it has changed. A list that is configured and cannot be
read lets nobody in: who was revoked is then not known.
"""

from __future__ import annotations

import os
from pathlib import Path

from bus.runtime import get_logger
from bus.tokens import Claims, TokenRefused

MAX_BYTES = 16_777_216
_USER = "sub:"

_log = get_logger("wsbridge.deny_list")


class DenyList:
    """The list at ``path``; with an empty path there is none, and nobody is denied."""

    def __init__(self, path: str) -> None:
        self._path = Path(path) if path else None
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: frozenset[str] = frozenset()
        self._users: frozenset[str] = frozenset()
        self.problem = ""
        self.version = 0
        """Grows with every change, so that connections can be checked again."""
        self.look(force=True)

    @property
    def count(self) -> int:
        """Entries in force."""
        return len(self._tokens) + len(self._users)

    def look(self, *, force: bool = False) -> None:
        """Read the file again if it has changed, or in any case. Never raises."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp and not force and not self.problem:
                return
            if found.st_size > MAX_BYTES:
                raise ValueError(f"it is longer than {MAX_BYTES} bytes")
            text = self._path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
            self._fail(str(why) if isinstance(error, OSError) else "it is not UTF-8, or too long")
            return
        entries = {line.partition("#")[0].strip() for line in text.splitlines()} - {""}
        users = frozenset(e.removeprefix(_USER).strip() for e in entries if e.startswith(_USER))
        tokens = frozenset(e for e in entries if not e.startswith(_USER))
        if self.problem or (users, tokens) != (self._users, self._tokens):
            self.version += 1
            _log.info("deny list read", tokens=len(tokens), users=len(users))
        self._users, self._tokens, self._stamp, self.problem = users, tokens, stamp, ""

    def check(self, claims: Claims) -> None:
        """Raises TokenRefused for a denied token, and for every one while the list is unread."""
        if self.problem:
            raise TokenRefused("unavailable", "tokens cannot be checked at the moment")
        if self.denies(claims.subject, claims.token_id):
            raise TokenRefused("denied", "the token has been revoked")

    def denies(self, user: str | None, token_id: str | None) -> bool:
        """Whether the user or the token is on the list as it was last read."""
        return user in self._users or token_id in self._tokens

    def _fail(self, why: str) -> None:
        if self.problem != why:
            _log.error("the deny list cannot be read: nobody is let in", file=self._path, why=why)
        self.problem = why
