"""Which processes a bus consists of and in which order they start. Pure.

Layers start one after the other, each when the one before serves; inside a layer all start
together. They stop in reverse order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bus.config import Settings
from bus.config.supervision import SupervisorSettings


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process: its name, what it is, the command's module, its layer from 0.

    ``slot`` is the index of the listening socket it is given, None for none; ``feed`` the feed
    it runs, empty for none. ``command`` replaces ``python -m module`` (for tests of the
    mechanism); it is not reachable from the configuration.
    """

    name: str
    kind: str
    module: str
    layer: int
    slot: int | None = None
    feed: str = ""
    command: tuple[str, ...] = ()


Planner = Callable[[Settings], tuple[ProcessSpec, ...]]


def plan(settings: Settings) -> tuple[ProcessSpec, ...]:
    """The processes of a bus with these settings, in order of start."""
    specs = [ProcessSpec("broker", "broker", "bus.broker", 1)]
    if settings.simulated:
        specs.insert(0, ProcessSpec("simulator", "simulator", "bus.simulator", 0))
    specs += [
        ProcessSpec(f"feed.{feed}", "feed", "bus.feeds", 2, feed=feed)
        for feed, feed_settings in settings.feeds.items()
        if feed_settings.enabled
    ]
    specs += [
        ProcessSpec(f"bridge.{slot + 1}", "bridge", "bus.wsbridge", 3, slot=slot)
        for slot in range(settings.bridge.workers)
    ]
    return tuple(specs)


def patience(settings: Settings, spec: ProcessSpec) -> SupervisorSettings:
    """How a process is watched and stopped: a bridge has the time that its clients need."""
    own = settings.supervisor
    if spec.kind != "bridge":
        return own
    return replace(own, stop_grace_s=max(own.stop_grace_s, settings.bridge.stop_s))


def imports(settings: Settings) -> tuple[str, ...]:
    """What the processes of such a bus import, for the template to have imported it already."""
    doors = dict.fromkeys(f"{spec.module}.__main__" for spec in plan(settings))
    venues = dict.fromkeys(
        f"bus.feeds.{settings.venue_of(feed)}.venue"
        for feed, feed_settings in settings.feeds.items()
        if feed_settings.enabled
    )
    simulated = [f"bus.simulator.{venue}.server" for venue in settings.simulated_ports]
    return ("uvloop", *doors, *venues, *simulated)


def layers(specs: Sequence[ProcessSpec]) -> list[list[ProcessSpec]]:
    """The processes grouped by layer, first layer first."""
    numbers = sorted({spec.layer for spec in specs})
    return [[spec for spec in specs if spec.layer == number] for number in numbers]
