"""One feed as a process: settings to a running venue, its life, its last word.

The venue's code is found by name: ``bus.feeds.<venue>.venue.create``.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import bus.feeds
from bus.client import Publisher
from bus.clock import now_ns
from bus.config import Settings
from bus.config.venues import streams_of
from bus.errors import ConfigError, TopicError
from bus.feeds.attempts import AttemptBudget
from bus.feeds.capture import start_capture
from bus.feeds.feed import Feed, VenueFeed
from bus.feeds.replay import for_replay, pace_of
from bus.feeds.shared_file import default_directory, file_name, meeting_directory
from bus.feeds.status import StatusBoard, Verdict
from bus.model import Status
from bus.model.topic import Topic
from bus.runtime import Life, get_logger, run_async
from bus.runtime.epoch import next_epoch

_log = get_logger("feeds.process")

PREFIX: Final = "feed."
ATTACH_WAIT_S: Final = 5.0
"""How long the venue's first message may wait for the broker: what is published before it
attached is lost."""
POLL_S: Final = 0.001


def main(argv: Sequence[str] | None = None) -> int:
    """Run one feed; the process's exit code."""
    return run_async(body, argv)


async def body(life: Life, settings: Settings) -> None:
    """Serve one feed until ``life.stopping``. Raises ConfigError for settings of no use."""
    name = feed_name(life.name, settings)
    create = find_venue(settings.venue_of(name), f"feeds.{name}.venue")
    ws_base, rest_base = bases(settings, name)
    own, pace = for_replay(settings, name), pace_of(settings)
    capture = start_capture(own, name, settings.venue_of(name), simulated=settings.simulated)
    shared = meeting_directory(shared_path(settings, name), f"feeds.{name}.shared_dir")
    attempts = shared / file_name("attempts", ws_base or settings.venue_of(name))
    epoch = next_epoch(settings.run_path, now_ns())
    with Publisher(settings.endpoints.publish, epoch=epoch) as publisher:
        board = StatusBoard(status_publisher(publisher, name))
        feed = Feed(
            name=name,
            venue_label=settings.venue_label(name),
            settings=own,
            publisher=publisher,
            board=board,
            stopping=life.stopping,
            started=lambda: life.ready({"publish": settings.endpoints.publish}),
            ws_base=ws_base,
            rest_base=rest_base,
            simulated=settings.simulated,
            attempts=AttemptBudget(path=attempts),
            shared_dir=shared,
            give_up=life.fail if life.supervised else None,
            capture=capture,
            pace=pace,
            streams=streams_of(settings.venue_of(name)),
        )
        venue = create(feed)
        for verb, handler in feed.commands.items():
            life.handle(verb, handler)
        lag = LoopLag()
        publisher.attach_loop(venue.broker_attached)
        life.report = lambda: {
            **report(feed),
            "loop_lag_ms": lag.take_ms(),
            **venue.report(),
            **(capture.report() if capture is not None else {}),
        }
        lag.start()
        await broker_attached(publisher, life.stopping)
        try:
            await venue.run()
        except* ConfigError as group:
            raise _first(group) from None
        finally:
            lag.stop()
            if capture is not None:
                await asyncio.to_thread(capture.close)
            closed = Verdict("closed", "stopped", "the feed has left")
            for symbol in board.symbols():
                board.say(symbol, closed, now_ns())


def feed_name(process_name: str, settings: Settings) -> str:
    """``feed.binance`` to ``binance``. Raises ConfigError when there is no such feed."""
    name = process_name.removeprefix(PREFIX)
    if name not in settings.feeds:
        known = ", ".join(f"{PREFIX}{known}" for known in settings.feeds)
        raise ConfigError.of("feeds", f"there is no feed {name!r}", hint=f"known: {known}")
    return name


def venues() -> list[str]:
    """The venues there is code for: the packages beside this module."""
    return [module.name for module in pkgutil.iter_modules(bus.feeds.__path__) if module.ispkg]


def find_venue(venue: str, key: str) -> Callable[[Feed], VenueFeed]:
    """The ``create`` of a venue's package. Raises ConfigError when there is no such package."""
    is_known = f"bus.feeds.{venue}.venue" in sys.modules  # a list of directories takes a while
    if not is_known and venue not in venues():
        raise ConfigError.of(
            key, f"there is no venue {venue!r}", hint=f"known: {', '.join(venues())}"
        )
    module = importlib.import_module(f"bus.feeds.{venue}.venue")
    create: Callable[[Feed], VenueFeed] = module.create
    return create


def shared_path(settings: Settings, name: str) -> Path:
    """Where the feeds of this host keep what they share; a simulated market has a host of its own.

    Its address is this machine's, and another bus's simulator is another venue.
    """
    if settings.feeds[name].shared_dir:
        return Path(settings.feeds[name].shared_dir)
    return settings.run_path / "shared" if settings.simulated else default_directory()


def bases(settings: Settings, name: str) -> tuple[str, str]:
    """WebSocket and REST base URLs: the simulator's, or those set, or "" for the venue's own."""
    if not settings.simulated:
        feed = settings.feeds[name]
        return feed.ws_url, feed.rest_url
    simulator = settings.simulator
    port = simulator.ports.get(settings.venue_of(name))
    if port is None:
        raise ConfigError.of(
            f"feeds.{name}.enabled",
            f"the simulator does not speak {settings.venue_of(name)}",
            hint='switch the feed off, or use mode = "live"',
        )
    host = f"[{simulator.host}]" if ":" in simulator.host else simulator.host
    return f"ws://{host}:{port}", f"http://{host}:{port}"


def status_publisher(publisher: Publisher, feed: str) -> Callable[[str, Status], None]:
    """A function that publishes statuses on ``sys/status/<feed>/[<symbol>/]``."""

    def publish(symbol: str, status: Status) -> None:
        try:
            writer = publisher.writer(Topic.status(feed, symbol))
        except TopicError as error:  # a misspelt symbol of the settings, refused already
            _log.warning("no status topic", symbol=symbol, reason=error.why)
            return
        writer.publish(status, venue_ts_ns=None, recv_ts_ns=now_ns())

    return publish


def report(feed: Feed) -> dict[str, int | float | str]:
    """The counters every feed has."""
    counters = feed.counters
    sent = feed.publisher.stats()
    return {
        "state": feed.board.state() or "connecting",
        "reason": feed.board.reason(),
        "messages_in": counters.messages_in,
        "messages_out": sent.messages,
        "drops": sent.dropped,
        "malformed": counters.malformed,
        "unknown": counters.unknown,
        "duplicates": counters.duplicates,
        "gaps": counters.gaps,
        "stale_streams": counters.stale,
        "topics": sent.topics,
    }


async def broker_attached(publisher: Publisher, stopping: asyncio.Event) -> bool:
    """Wait for the broker, at most 5 s: the venue is not kept waiting for ever."""
    deadline_s = asyncio.get_running_loop().time() + ATTACH_WAIT_S
    while not publisher.stats().attached and not stopping.is_set():
        if publisher.service():
            break
        if asyncio.get_running_loop().time() > deadline_s:
            _log.warning("no broker yet", waited_s=ATTACH_WAIT_S, action="going on without")
            return False
        await asyncio.sleep(POLL_S)
    return True


class LoopLag:
    """How late the event loop runs a timer: the largest lateness since last asked."""

    INTERVAL_S: Final = 0.1

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin measuring."""
        self._due_s = self._loop.time() + self.INTERVAL_S
        self._timer = self._loop.call_at(self._due_s, self._measure)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()

    def take_ms(self) -> float:
        """The worst lateness since the last call, in ms."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return round(worst_s * 1_000, 2)

    def _measure(self) -> None:
        self._worst_s = max(self._worst_s, self._loop.time() - self._due_s)
        self.start()


def _first(group: BaseExceptionGroup[ConfigError]) -> ConfigError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an empty group")
