"""One connected client, as the middle of the bridge knows it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from bus.wsbridge.messages import CloseCode
from bus.wsbridge.outbox import Outbox
from bus.wsbridge.steps import Authenticate, Step

if TYPE_CHECKING:
    from bus.wsbridge.session import Session


class BridgeClient(Outbox):
    """One connected client, as the bridge needs it: its outbox and what only the shell can do."""

    __slots__ = ("batch_ms", "heartbeats", "session")

    session: Session

    def __init__(self) -> None:
        super().__init__()
        self.batch_ms = 0
        self.heartbeats = 0

    @abstractmethod
    def go_on(self) -> None:
        """See that what waits is sent: some of it now, the rest in its turn."""

    @abstractmethod
    def close(self, code: CloseCode, *, reason: str = "") -> None:
        """Begin the closing handshake, with the code's word or ``reason``; the last write."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection off, without a word."""

    @abstractmethod
    def authenticate(self, step: Authenticate, now_ns: int) -> list[Step]:
        """Check a token; the steps that follow from it."""

    @abstractmethod
    def resume(self) -> None:
        """The waiting request is complete: handle the messages that came meanwhile."""
