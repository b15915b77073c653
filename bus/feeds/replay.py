"""How a feed behaves while a capture is played to it: its own waits must not hold the replay up.

The ticks are made by the same code from the same bytes in the same order. What differs is only
what would wait by the clock: pauses before another attempt, budgets of REST calls, timeouts, and
intervals between polls. The playing side answers a REST call no sooner than the capture did, so
a poll that comes early waits there. Pure.
"""

from __future__ import annotations

import dataclasses

from bus.capture.files import SUFFIX
from bus.config import FeedSettings, Settings


def is_replay(settings: Settings) -> bool:
    """Whether the feeds of this bus are served from captures."""
    simulator = settings.simulator
    return (
        settings.simulated
        and simulator.source == "playback"
        and any(name.endswith(SUFFIX) for name in simulator.playback_files)
    )


def for_replay(settings: Settings, feed: str) -> FeedSettings:
    """The settings of one feed, as they are, or as a replay needs them."""
    own = settings.feeds[feed]
    if not is_replay(settings):
        return own
    return dataclasses.replace(
        own,
        capture=False,  # it would be a copy, and its bound could delete the original
        messages_per_s=100,
        rest_weight_per_minute=100_000,
        rest_timeout_s=120.0,
        retry_floor_s=0.05,
        retry_cap_s=0.05,
        rotate_after_s=0.0,
        silent_connection_s=3_600.0,
    )


def pace_of(settings: Settings) -> float:
    """The factor on intervals: 1 over the speed of the replay, 0 at ``max``, 1 without one.

    A speed that is none is the simulator's to refuse.
    """
    if not is_replay(settings):
        return 1.0
    try:
        speed = float(settings.simulator.playback_speed)
    except ValueError:
        return 0.0
    return 1.0 / speed if speed > 0 else 1.0
