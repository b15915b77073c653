"""Replacing processes: where the supervisor holds the listening socket, without a gap.

Such processes go one after the other, each new generation serving before the old one is drained,
and the first that does not come to serve ends the round: those not reached yet go on as they are.
The old ones drain side by side meanwhile, so that their clients find new ones only: none of them is
sent away twice. All others are drained first and started again, together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bus.supervision.policy import Phase
from bus.supervision.unit import Unit

DISMISSED: Final = "is no part of the bus any more"
"""Why a process cannot be had that was, when it was asked for."""


async def replace_all(units: Sequence[Unit], timeout_s: float) -> dict[str, str]:
    """Replace every one of ``units``; the reason of each that was not, by name.

    Within ``timeout_s`` all together, and until the old ones have gone, if they do within that.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s

    async def one(unit: Unit) -> tuple[str, str]:
        left_s = max(0.0, end - loop.time())
        return unit.name, await replace(unit, left_s)

    rolling = [unit for unit in units if _can_roll(unit)]
    others = [unit for unit in units if unit not in rolling]
    reasons = dict(await asyncio.gather(*(one(unit) for unit in others)))
    for number, unit in enumerate(rolling):
        reasons |= [await one(unit)]
        if reasons[unit.name]:
            reasons |= {left.name: "left as it was" for left in rolling[number + 1 :]}
            break
    await asyncio.gather(*(unit.rid(max(0.0, end - loop.time())) for unit in rolling))
    return {name: why for name, why in reasons.items() if why}


async def replace(unit: Unit, timeout_s: float) -> str:
    """Replace one process and wait until the new one serves; the reason when it does not.

    The old one may still drain then.
    """
    async with unit.operator_lock:
        if unit.is_dismissed:
            return DISMISSED
        if _can_roll(unit):
            return await unit.succeed(timeout_s)
        before = unit.generation
        unit.restart()
        if await unit.until(lambda u: u.generation > before and settled(u), timeout_s):
            return ""
        return f"is not ready after {timeout_s:g} s"


def settled(unit: Unit) -> bool:
    """Whether waiting longer for the process would be in vain."""
    return unit.phase in (Phase.READY, Phase.FATAL) or unit.failing()


def has_left(unit: Unit) -> bool:
    """Whether nothing of the process runs, an earlier generation included, and nothing will. Not
    before may it be forgotten: a child that nobody knows is ended as a stranger.
    """
    return unit.phase is Phase.STOPPED and not unit.retiring


def _can_roll(unit: Unit) -> bool:
    return unit.spec.slot is not None and unit.serving
