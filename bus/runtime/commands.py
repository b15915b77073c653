"""The commands a process takes over its link: handlers by verb, and the rules all of them share.

A process answers every command once. A verb nobody registered, too many commands at once, a
handler that fails or takes too long: each is an error reply, and never the end of the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from bus.errors import MdbusError
from bus.runtime.log import get_logger
from bus.wire.link import MAX_VERBS, Command, LinkError, Reply, check_data

if TYPE_CHECKING:
    import asyncio  # at run time where there is a loop: see `bus.runtime.process`

MAX_IN_FLIGHT: Final = 16
"""Commands one process works on at the same time; further ones are refused."""

AsyncHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
BlockingHandler = Callable[[dict[str, Any]], dict[str, Any]]
Handler = TypeVar("Handler", AsyncHandler, BlockingHandler)

_INTERNAL: Final = "internal error, see the log"
_log = get_logger("runtime.commands")


class _Book(Generic[Handler]):
    """Handlers by verb."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    @property
    def verbs(self) -> tuple[str, ...]:
        """What this process can be asked, in order of registration."""
        return tuple(self._handlers)

    def register(self, verb: str, handler: Handler) -> None:
        """Take ``verb`` from now on; raises `ValueError` for one taken already or one too many."""
        if verb in self._handlers:
            raise ValueError(f"the verb {verb!r} has a handler already")
        if len(self._handlers) >= MAX_VERBS:
            raise ValueError(f"more than {MAX_VERBS} verbs")
        self._handlers[verb] = handler

    def find(self, command: Command) -> Handler | Reply:
        """The handler of a command, or the reply that there is none."""
        handler = self._handlers.get(command.verb)
        if handler is not None:
            return handler
        known = ", ".join(self._handlers) or "none"
        return _refusal(command, f"there is no command {command.verb!r} here; known: {known}")


class AsyncCommands(_Book[AsyncHandler]):
    """Runs each command as a task of the running loop, at most `MAX_IN_FLIGHT` at once.

    ``send(reply)`` is called once for each command. One whose time is over is cancelled.
    """

    def __init__(self, send: Callable[[Reply], None]) -> None:
        super().__init__()
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, command: Command) -> None:
        """Begin a command; must be called on the loop."""
        import asyncio

        handler = self.find(command)
        if isinstance(handler, Reply):
            self._send(handler)
        elif len(self._tasks) >= MAX_IN_FLIGHT:
            self._send(_refusal(command, f"{MAX_IN_FLIGHT} commands are being worked on already"))
        else:
            task = asyncio.get_running_loop().create_task(
                self._run(handler, command), name=f"command {command.verb}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Give up what is being worked on, as the process is about to end."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, handler: AsyncHandler, command: Command) -> None:
        import asyncio

        reply = _refusal(command, "the process is stopping")
        limit = asyncio.timeout(command.timeout_s)
        try:
            async with limit:
                reply = _success(command, await handler(dict(command.arguments)))
        except Exception as error:  # noqa: BLE001 - whatever a handler does, the process goes on
            if limit.expired() and isinstance(error, TimeoutError):
                reply = _refusal(command, f"not done within {command.timeout_s:g} s, given up")
            else:
                reply = _failure(command, error)
        finally:  # a cancelled one too: the process is on its way out
            task = asyncio.current_task()
            if task is not None:  # who has the answer may ask again at once: there is room
                self._tasks.discard(task)
            self._send(reply)


class BlockingCommands(_Book[BlockingHandler]):
    """Runs each command at once, to its end, in the loop that calls `take`."""

    def __init__(self, send: Callable[[Reply], None]) -> None:
        super().__init__()
        self._send = send

    def take(self, command: Command) -> None:
        """Do a command and answer it."""
        handler = self.find(command)
        if isinstance(handler, Reply):
            self._send(handler)
            return
        try:
            reply = _success(command, handler(dict(command.arguments)))
        except Exception as error:  # noqa: BLE001 - whatever a handler does, the process goes on
            reply = _failure(command, error)
        self._send(reply)


def _success(command: Command, result: Mapping[str, Any]) -> Reply:
    """The reply that carries ``result``, or says that the wire cannot hold it."""
    try:
        return Reply(command.id, True, check_data(result))
    except LinkError as error:
        _log.error("bad result of a command", verb=command.verb, error=error)
        return _refusal(command, f"done, but its result cannot be sent: {error}")


def _failure(command: Command, error: Exception) -> Reply:
    if isinstance(error, MdbusError):
        return _refusal(command, str(error) or type(error).__name__)
    _log.exception("command failed", error, verb=command.verb)
    return _refusal(command, _INTERNAL)


def _refusal(command: Command, why: str) -> Reply:
    return Reply(command.id, False, {}, why)
