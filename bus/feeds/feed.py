"""What every venue's code is given, and what it has to offer. Names no venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from bus.client import Publisher
from bus.config import FeedSettings
from bus.config.venues import MARKET_STREAMS
from bus.feeds.attempts import AttemptBudget
from bus.feeds.backoff import Backoff
from bus.feeds.budget import WeightLedger
from bus.feeds.capture import Capture
from bus.feeds.depth_book import BookLimits
from bus.feeds.session import SessionSettings
from bus.feeds.shared_file import Shared, file_name
from bus.feeds.skew import SkewEstimate
from bus.feeds.status import StatusBoard

Command = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""Takes the arguments of a command, gives the result; raises CommandRefused (one sentence)."""


@dataclass(slots=True)
class Counters:
    """Progress of one feed, shown in its heartbeats. All only grow.

    ``messages_in``: frames received. ``malformed`` and ``unknown``: frames dropped because they
    were not what the venue documents, or of a kind not known here. ``duplicates``: events dropped
    as already seen. ``gaps``: books found out of step. ``stale``: streams that fell silent.
    """

    messages_in: int = 0
    malformed: int = 0
    unknown: int = 0
    duplicates: int = 0
    gaps: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed process, as its venue's code sees it.

    ``ws_base`` and ``rest_base`` override the venue's own (empty: use the venue's); ``simulated``
    says that they belong to the simulator, so that no real key is needed. ``started`` is to be
    called once the sessions run. ``attempts`` is shared by all of them, and so is ``skew``.
    ``shared_dir``: where the processes of this host keep what they share (None: alone).
    ``give_up``: ends the process with one line, where somebody would start it again, else None.
    ``commands``: the venue's code puts in, by verb, what an operator can ask of it.
    ``capture`` keeps what is received, if anything does. ``pace`` is a factor on whatever is done
    at intervals: below 1 while a capture is played faster than it was made. ``streams``: what the
    venue serves of an instrument, as :mod:`bus.config.venues` has it.
    """

    name: str
    venue_label: str
    settings: FeedSettings
    publisher: Publisher
    board: StatusBoard
    stopping: asyncio.Event
    started: Callable[[], None]
    ws_base: str = ""
    rest_base: str = ""
    simulated: bool = False
    counters: Counters = field(default_factory=Counters)
    attempts: AttemptBudget = field(default_factory=AttemptBudget)
    shared_dir: Path | None = None
    give_up: Callable[[str], None] | None = None
    capture: Capture | None = None
    pace: float = 1.0
    streams: tuple[str, ...] = MARKET_STREAMS
    skew: SkewEstimate = field(default_factory=SkewEstimate)
    commands: dict[str, Command] = field(default_factory=dict)

    def weight_ledger(self, rest_base: str) -> Shared[WeightLedger]:
        """The REST budget towards one venue, shared by all feeds of this host."""
        if self.shared_dir is None:
            return Shared(WeightLedger)
        host = urlsplit(rest_base).netloc or rest_base
        return Shared(WeightLedger, self.shared_dir / file_name("weight", host))

    @property
    def backoff(self) -> Backoff:
        """The waits between attempts."""
        return Backoff(self.settings.retry_floor_s, self.settings.retry_cap_s)

    @property
    def book_limits(self) -> BookLimits:
        """Bounds of every book."""
        settings = self.settings
        return BookLimits(
            orderbook_levels=settings.orderbook_levels,
            book_max_levels=settings.book_max_levels,
            buffer_diffs=settings.buffer_diffs,
            depth_snapshot_deltas=settings.depth_snapshot_deltas,
            depth_snapshot_s=settings.depth_snapshot_s,
            book_refresh_s=settings.book_refresh_s,
        )

    def session_settings(
        self, name: str, *, rotate_after_s: float | None = None
    ) -> SessionSettings:
        """How to hold the connection called ``name``; ``rotate_after_s`` None: as set."""
        settings = self.settings
        return SessionSettings(
            name=name,
            connect_timeout_s=settings.connect_timeout_s,
            max_frame_bytes=settings.max_frame_bytes,
            messages_per_s=settings.messages_per_s,
            rotate_after_s=settings.rotate_after_s if rotate_after_s is None else rotate_after_s,
            unauthorized_retry_s=settings.unauthorized_retry_s,
            backoff=self.backoff,
            capture=self.capture,
        )


class VenueFeed(Protocol):
    """A venue's feed: what ``bus.feeds.<venue>.venue.create(feed)`` returns."""

    async def run(self) -> None:
        """Serve until ``feed.stopping`` is set. Raises ConfigError for settings of no use."""

    def report(self) -> dict[str, int | float | str]:
        """Counters of the venue's own, added to those of the feed."""

    def broker_attached(self) -> None:
        """The broker (re)attached: publish what its cache cannot know."""
