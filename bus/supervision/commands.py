"""Commands passed on to processes over the link, and the answers brought back.

Bounded everywhere: so many commands at once to one process, so many bytes, so many seconds. A
command ends in exactly one way: answered, out of time, or its process gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bus.errors import MdbusError
from bus.supervision import exit_codes
from bus.supervision.generation import Sender
from bus.supervision.nearest import nearest
from bus.supervision.unit import Unit
from bus.wire.link import Command, LinkError, LinkMessage, Reply

MAX_IN_FLIGHT: Final = 16
"""Commands one process may have unanswered; further ones are refused."""
MARGIN_S: Final = 1.0
"""A process gives up by itself when the time is over; only a silent one is given up here."""

Send = Callable[[Sender, LinkMessage], bool]


class CommandError(MdbusError):
    """A command that was not done; ``code`` is the exit code for the command line."""

    def __init__(self, process: str, why: str, code: int = exit_codes.FAILED) -> None:
        self.process = process
        self.why = why
        self.code = code
        super().__init__(f"{process}: {why}")


@dataclass(frozen=True, slots=True)
class _Pending:
    process: str
    answer: asyncio.Future[Reply]


class Commands:
    """The commands under way. ``send(sender, message)`` is False when it cannot be delivered."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._number = 0
        self._pending: dict[int, _Pending] = {}

    async def ask(
        self, unit: Unit, verb: str, arguments: Mapping[str, Any], timeout_s: float
    ) -> dict[str, Any]:
        """The result of ``verb`` in the process; raises `CommandError` for anything else.

        Only verbs that the process said it takes are sent.
        """
        name = unit.name
        if unit.child is None or not unit.serving:
            raise CommandError(name, f"does not take commands now: it is {unit.phase.value}")
        verbs = unit.vitals.verbs
        if verb not in verbs:
            near = nearest(verb, verbs)
            hint = f"did you mean {near}?" if near else f"it knows {', '.join(verbs) or 'none'}"
            raise CommandError(name, f"does not know the command {verb!r}; {hint}")
        if sum(pending.process == name for pending in self._pending.values()) >= MAX_IN_FLIGHT:
            raise CommandError(name, f"{MAX_IN_FLIGHT} commands are under way already")
        self._number += 1
        number = self._number
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[number] = _Pending(name, answer)
        try:
            command = Command(number, verb, arguments, timeout_s)
            if not self._send(unit.sender, command):
                raise CommandError(name, "cannot be reached over the link")
            async with asyncio.timeout(timeout_s + MARGIN_S):
                reply = await answer
        except LinkError as error:
            raise CommandError(name, f"{verb}: {error}", exit_codes.USAGE) from error
        except TimeoutError:
            why = f"no answer to {verb} within {timeout_s:g} s"
            raise CommandError(name, why, exit_codes.TIMEOUT) from None
        finally:
            self._pending.pop(number, None)
        if not reply.ok:
            raise CommandError(name, f"{verb}: {reply.error}")
        return dict(reply.result)

    @property
    def under_way(self) -> bool:
        """Whether an answer is waited for."""
        return bool(self._pending)

    def answered(self, process: str, reply: Reply) -> bool:
        """Take a reply; False when nobody waits for it (any more)."""
        pending = self._pending.get(reply.id)
        if pending is None or pending.process != process or pending.answer.done():
            return False
        pending.answer.set_result(reply)
        return True

    def gone(self, process: str) -> None:
        """The process has ended: what it was asked will never be answered."""
        for number, pending in self._pending.items():
            if pending.process == process and not pending.answer.done():
                ended = "the process ended before it answered"
                pending.answer.set_result(Reply(number, False, {}, ended))
