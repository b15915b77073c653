"""Tells the bus that a feed is dead, for as long as it is: the feed itself cannot.

Each death gets a publisher of its own with a fresh epoch, newer than the dead feed's and older
than its successor's, so that consumers order the three without knowing who sent which. The
publisher stays until the feed serves again: a broker that restarts meanwhile is told again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bus.client import Publisher
from bus.clock import now_ns
from bus.errors import MdbusError
from bus.model.tick import Status
from bus.model.topic import Topic
from bus.runtime import get_logger
from bus.runtime.epoch import next_epoch
from bus.transport.sockets import ZmqContext

_log = get_logger("supervision.down_notice")


class DownNotices:
    """The notices in force, at most one a feed."""

    def __init__(self, context: ZmqContext, publish_endpoint: str, run_path: Path) -> None:
        self._context = context
        self._run_path = run_path
        self.endpoint = publish_endpoint
        self._publishers: dict[str, Publisher] = {}

    def post(self, feed: str, symbols: Iterable[str], detail: str) -> None:
        """Say ``down`` on the feed's status topic and on that of each of its symbols."""
        self.withdraw(feed)
        now = now_ns()
        status = Status("down", "exited", now, detail)
        try:
            epoch = next_epoch(self._run_path, now)
            publisher = Publisher(self.endpoint, epoch=epoch, context=self._context)
            self._publishers[feed] = publisher
            for symbol in ("", *symbols):
                topic = Topic.status(feed, symbol)
                publisher.writer(topic).publish(status, venue_ts_ns=None, recv_ts_ns=now)
            publisher.attach_loop()
        except MdbusError as error:
            _log.error("cannot tell the bus that a feed is down", feed=feed, error=error)

    def withdraw(self, feed: str) -> None:
        """The feed speaks for itself again."""
        publisher = self._publishers.pop(feed, None)
        if publisher is not None:
            publisher.close()

    def close(self) -> None:
        """Withdraw every notice."""
        for feed in list(self._publishers):
            self.withdraw(feed)
