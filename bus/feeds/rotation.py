"""Replacing every connection of a feed on command, the same for every venue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from bus.feeds.commands import rotation_answer
from bus.feeds.errors import CommandRefused
from bus.feeds.feed import Counters
from bus.feeds.session import Session


async def rotate_all(sessions: Sequence[Session], counters: Counters) -> dict[str, Any]:
    """Open a new connection for each before the old one is closed; the command's answer.

    Raises CommandRefused when none was replaced.
    """
    started_s, duplicates = time.monotonic(), counters.duplicates
    replaced = await asyncio.gather(*(session.rotate() for session in sessions))
    if sessions and not any(replaced):
        raise CommandRefused("no connection was replaced: see the log; the old ones serve on")
    return rotation_answer(
        sum(replaced), time.monotonic() - started_s, counters.duplicates - duplicates
    )
