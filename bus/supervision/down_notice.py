"""Tells the bus that a feed is dead, for as long as it is: the feed itself cannot.

Each death gets a publisher of its own with a fresh epoch, newer than the dead feed's and older
than its successor's, so that consumers order the three without knowing who sent which. The
publisher stays until the feed serves again: a broker that restarts meanwhile is told again.

A feed that is back within `PATIENCE_S` has said itself how it is. The rest is rare, so the client
library is imported when there is something to publish: in a thread, for the loop has a successor to
start and to hear meanwhile.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Final

from bus.clock import now_ns
from bus.errors import MdbusError
from bus.runtime.epoch import next_epoch
from bus.runtime.log import get_logger

if TYPE_CHECKING:
    from bus.client import Publisher
    from bus.transport.sockets import ZmqContext

PATIENCE_S: Final = 0.1
"""How long a dead feed has to be back before the bus is told."""

_log = get_logger("supervision.down_notice")


class DownNotices:
    """The notices in force, at most one a feed. On the supervisor's loop."""

    def __init__(self, publish_endpoint: str, run_path: Path) -> None:
        self._run_path = run_path
        self.endpoint = publish_endpoint
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._publishers: dict[str, Publisher] = {}
        self._context: ZmqContext | None = None
        self._ending: Thread | None = None

    def post(self, feed: str, symbols: Iterable[str], detail: str) -> None:
        """Say ``down`` on the feed's status topic and on that of each of its symbols, as of now,
        unless it is withdrawn within `PATIENCE_S`.
        """
        self.withdraw(feed)
        now = now_ns()
        try:
            epoch = next_epoch(self._run_path, now)  # before its successor takes one
        except MdbusError as error:
            _log.error("cannot tell the bus that a feed is down", feed=feed, error=error)
            return
        self._waiting[feed] = asyncio.create_task(
            self._publish_later(feed, tuple(symbols), detail, epoch, now)
        )

    async def _publish_later(
        self, feed: str, symbols: tuple[str, ...], detail: str, epoch: int, at_ns: int
    ) -> None:
        await asyncio.sleep(PATIENCE_S)
        try:
            await _import_client()
            self._publish(feed, symbols, detail, epoch, at_ns)
        except ImportError as error:  # of code that was installed since: `reexec` mends it
            _log.error("cannot tell the bus that a feed is down", feed=feed, error=error)
        del self._waiting[feed]

    def _publish(
        self, feed: str, symbols: tuple[str, ...], detail: str, epoch: int, at_ns: int
    ) -> None:
        from bus.client import Publisher
        from bus.model.tick import Status
        from bus.model.topic import Topic
        from bus.transport.sockets import new_context

        self._context = self._context or new_context()
        status = Status("down", "exited", at_ns, detail)
        try:
            publisher = self._publishers[feed] = Publisher(
                self.endpoint, epoch=epoch, context=self._context
            )
            for symbol in ("", *symbols):
                topic = Topic.status(feed, symbol)
                publisher.writer(topic).publish(status, venue_ts_ns=None, recv_ts_ns=at_ns)
            publisher.attach_loop()
        except MdbusError as error:
            _log.error("cannot tell the bus that a feed is down", feed=feed, error=error)

    def withdraw(self, feed: str) -> None:
        """The feed speaks for itself again."""
        waiting = self._waiting.pop(feed, None)
        if waiting is not None:
            waiting.cancel()
        publisher = self._publishers.pop(feed, None)
        if publisher is not None:
            publisher.close()
        if self._context is not None and not self._publishers:
            # Nothing is told any more: keep no threads and descriptors for it. The last words may
            # take a second to leave, for which the loop does not wait.
            self._ending = Thread(target=self._context.term, name="notices", daemon=True)
            self._ending.start()
            self._context = None

    def close(self) -> None:
        """Withdraw every notice."""
        for feed in [*self._waiting, *self._publishers]:
            self.withdraw(feed)
        if self._ending is not None:
            self._ending.join()


async def _import_client() -> None:
    """In a thread that ends with that: those of the loop's own pool would stay."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    try:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, importlib.import_module, "bus.client.publisher")
    finally:
        pool.shutdown(wait=False)
