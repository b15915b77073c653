"""What a process knows of its own life: its name, when to stop, how to say that it serves.

`Life` belongs to processes with an asyncio loop, `BlockingLife` to those with a poll loop of
their own. Without a supervisor both work the same; there is then nobody to tell.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bus.clock import monotonic_ns
from bus.runtime.commands import AsyncCommands, AsyncHandler, BlockingCommands, BlockingHandler
from bus.runtime.environment import Spawned
from bus.runtime.link import SERVICE_INTERVAL_NS, SUPERVISOR_GONE, ChildLink, Report
from bus.runtime.log import get_logger, set_level
from bus.wire.link import Reply

if TYPE_CHECKING:
    import asyncio  # at run time where there is a loop: see `bus.runtime.process`

_log = get_logger("runtime.life")


class _LifeCore:
    """What both kinds share: identity, readiness, failure, the inherited listener."""

    def __init__(self, name: str, spawned: Spawned | None) -> None:
        self.name: Final = name
        self.generation: Final = spawned.generation if spawned else 1
        self.exit_code = 0
        self.failure_line = ""
        self._spawned: Final = spawned
        self._link: ChildLink | None = None
        self._endpoints: dict[str, str] | None = None
        if spawned is not None:
            self._link = ChildLink(spawned)

    @property
    def report(self) -> Report | None:
        """Returns the counters to put into every heartbeat; assign a function of no arguments.

        It runs on the process's own loop once a second: it must be quick and must not block.
        Values are int, float or str; at most 128 of them.
        """
        return self._link.report if self._link else None

    @report.setter
    def report(self, report: Report) -> None:
        if self._link is not None:
            self._link.report = report

    @property
    def supervised(self) -> bool:
        """Whether a supervisor started this process."""
        return self._spawned is not None

    def ready(self, endpoints: Mapping[str, str] | None = None) -> None:
        """Say, once, that the process serves at ``endpoints`` (name to URL)."""
        if self._endpoints is not None:
            return
        self._endpoints = dict(endpoints or {})
        _log.info("ready", **self._endpoints)
        self._announce()

    def listen_socket(self) -> socket.socket | None:
        """The listening TCP socket inherited from the supervisor, or None when run alone.

        The caller owns the returned object; call it once.
        """
        if self._spawned is None or self._spawned.listen_fd is None:
            return None
        os.set_inheritable(self._spawned.listen_fd, False)
        inherited = socket.socket(fileno=self._spawned.listen_fd)
        inherited.setblocking(False)
        return inherited

    def fail(self, line: str) -> None:
        """Stop with exit code 1 and ``line``, one clear sentence, as the reason.

        Does not raise and may be called from any task or callback: it asks for the stop; the
        process then drains as for SIGTERM. The first failure counts.
        """
        if not self.failure_line:
            self.exit_code = 1
            self.failure_line = line
            _log.error("failed", reason=line)
        self.request_stop("failed")

    def _announce(self) -> None:
        """Tell the supervisor where the process serves and what it can be asked, once it does."""
        if self._link is not None and self._endpoints is not None:
            self._link.ready(self._endpoints, self._verbs())

    def _verbs(self) -> tuple[str, ...]:
        raise AssertionError("a life of no kind was asked for its verbs")

    def _reply(self, reply: Reply) -> None:
        if self._link is not None:
            self._link.reply(reply)

    def request_stop(self, reason: str) -> None:
        """Ask the process to drain and leave."""
        raise AssertionError(f"a life of no kind was asked to stop: {reason}")

    def _announce_stop(self, reason: str) -> None:
        _log.info("stopping", reason=reason)
        if self._link is not None:
            self._link.draining(reason)

    def _ignore_further_signals(self) -> None:
        """A process on its way out must not be cut short by being told again.

        The kernel signals the supervisor's death more than once: when the thread that spawned
        ends, and when the one that inherited its children does.
        """
        if self._spawned is not None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def close(self) -> None:
        """Say the last word to the supervisor and free the link."""
        if self._link is not None:
            self._link.close(self.exit_code, self.failure_line)
            self._link = None


class Life(_LifeCore):
    """The life of a process that runs on an asyncio loop; made by `bus.runtime.run_async`.

    ``stopping`` is set once, on SIGTERM, SIGINT, the supervisor's stop or its death, and `fail`.
    The process should then finish what it does and return from its body. ``is_taken_down`` tells,
    from the supervisor's word on (which may come later), that the whole bus goes: nobody comes in
    this process's place, and there is no use in taking time.
    """

    def __init__(self, name: str, spawned: Spawned | None) -> None:
        import asyncio

        super().__init__(name, spawned)
        self.stopping: Final = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._cancel_body: Callable[[], object] = _nothing_to_cancel
        self.is_taken_down = False
        self._commands: Final = AsyncCommands(self._reply)
        self._commands.register("log_level", _log_level_later)
        if self._link is not None:
            self._link.on_command = self._commands.take

    def handle(self, verb: str, handler: AsyncHandler) -> None:
        """Take the command ``verb``: ``await handler(arguments)`` gives the map to answer with.

        Handlers run as tasks of this process's loop, at most 16 at once, and are cancelled when
        the time the caller gave is over. An `MdbusError` is answered with its message, any other
        exception with "internal error, see the log", where it then stands; neither ends the
        process. Arguments and result are what JSON can hold, at most 48 KiB. Raises `ValueError`
        for a verb that has a handler already.
        """
        self._commands.register(verb, handler)
        self._announce()

    def _verbs(self) -> tuple[str, ...]:
        return self._commands.verbs

    def attach(self, loop: asyncio.AbstractEventLoop, cancel_body: Callable[[], object]) -> None:
        """Begin: signals, heartbeats and the supervisor's messages are served by ``loop``.

        A second SIGINT or SIGTERM calls ``cancel_body``.
        """
        self._loop = loop
        self._cancel_body = cancel_body
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        if self._link is not None:
            loop.add_reader(self._link.fd, self._on_readable)
            self._turn()

    def detach(self) -> None:
        """End what `attach` began."""
        if self._loop is None:
            return
        self._commands.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)
        self._ignore_further_signals()
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._loop.remove_reader(self._link.fd)
        self._loop = None

    def request_stop(self, reason: str) -> None:
        """Set ``stopping``; later calls change nothing."""
        if not self.stopping.is_set():
            self._announce_stop(reason)
            self.stopping.set()

    def supervisor_lost(self) -> None:
        """The supervisor is gone: stop. Safe from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._heed, SUPERVISOR_GONE)

    def _on_signal(self, number: int) -> None:
        if self.stopping.is_set() and number == signal.SIGINT:
            self._cancel_body()
        self._on_readable()  # what the supervisor said before it sent the signal counts first
        self.request_stop(signal.Signals(number).name)

    def _on_readable(self) -> None:
        if self._link is None or self._loop is None:
            return
        reason = self._link.receive()
        if reason == SUPERVISOR_GONE:  # nothing more will come, and it would be said for ever
            self._loop.remove_reader(self._link.fd)
        self._heed(reason)

    def _turn(self) -> None:
        loop, link = self._loop, self._link
        if loop is None or link is None:
            return
        self._timer = loop.call_later(SERVICE_INTERVAL_NS / 1e9, self._turn)
        self._heed(link.service(monotonic_ns()))

    def _heed(self, stop_reason: str | None) -> None:
        if stop_reason is not None:
            self.is_taken_down = True
            self.request_stop(stop_reason)


class BlockingLife(_LifeCore):
    """The life of a process with its own poll loop; made by `bus.runtime.run_blocking`.

    The loop calls `service` at least every 250 ms, and leaves when ``stopping`` is true. To hear
    of a stop at once it may poll the descriptors ``link_fd`` and ``signal_fd`` too.
    """

    def __init__(self, name: str, spawned: Spawned | None) -> None:
        super().__init__(name, spawned)
        self.stopping = False
        self._stop_wanted = ""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._commands: Final = BlockingCommands(self._reply)
        self._commands.register("log_level", _log_level)
        if self._link is not None:
            self._link.on_command = self._commands.take

    def handle(self, verb: str, handler: BlockingHandler) -> None:
        """Take the command ``verb``: ``handler(arguments)`` gives the map to answer with.

        As `Life.handle`, with a plain function that runs inside `service` and must be quick: no
        heartbeat is sent while it runs.
        """
        self._commands.register(verb, handler)
        self._announce()

    def _verbs(self) -> tuple[str, ...]:
        return self._commands.verbs

    @property
    def link_fd(self) -> int | None:
        """The link to the supervisor, to be polled for reading; None when run alone."""
        return self._link.fd if self._link is not None else None

    @property
    def signal_fd(self) -> int:
        """A descriptor that becomes readable when a signal or the supervisor's end comes."""
        return self._wake_read

    def attach(self) -> None:
        """Begin to hear SIGTERM and SIGINT. Main thread only."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def detach(self) -> None:
        """End what `attach` began."""
        signal.set_wakeup_fd(-1)
        self._ignore_further_signals()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def service(self, now_ns: int | None = None) -> None:
        """One turn of the loop at monotonic ``now_ns`` (read from the clock when None).

        Sends the heartbeat when it is due, reads what the supervisor sent, and turns a signal
        into ``stopping``.
        """
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 512)
        if self._link is not None:
            reason = self._link.service(monotonic_ns() if now_ns is None else now_ns)
            if reason is not None:
                self._stop_wanted = self._stop_wanted or reason
        if self._stop_wanted:
            self.request_stop(self._stop_wanted)

    def request_stop(self, reason: str) -> None:
        """Set ``stopping``; later calls change nothing. From the loop's own thread only."""
        if not self.stopping:
            self.stopping = True
            self._announce_stop(reason)

    def supervisor_lost(self) -> None:
        """The supervisor is gone: stop at the next `service`. Safe from any thread."""
        self._stop_wanted = self._stop_wanted or SUPERVISOR_GONE
        try:
            os.write(self._wake_write, b"\0")
        except OSError:  # full, or closed already: the loop is awake or over
            return

    def _on_signal(self, number: int, _frame: object) -> None:
        if self.stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._stop_wanted = self._stop_wanted or signal.Signals(number).name


def _log_level(arguments: dict[str, Any]) -> dict[str, Any]:
    """What every process can be asked: to log more or less, ``{"level": "debug"}``."""
    set_level(str(arguments.get("level")))
    return {"level": arguments["level"]}


async def _log_level_later(arguments: dict[str, Any]) -> dict[str, Any]:
    return _log_level(arguments)


def _nothing_to_cancel() -> None:
    return
