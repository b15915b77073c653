"""How a feed states in a symbol's status that trades of it are lost: the one home of the words."""

from __future__ import annotations

import re
from typing import Final

TRADES_LOST: Final = "trades_lost"
"""The ``reason`` of such a status."""

_COUNT = re.compile(r"([0-9]{1,15}) trades lost, ")


def loss_text(count: int, first_id: int, last_id: int, why: str) -> str:
    """The ``detail``: ``count`` trades between two ids of the venue (inclusive) cannot be had."""
    return f"{count} trades lost, ids {first_id} to {last_id}: {why}"


def lost_count(reason: str, detail: str | None) -> int:
    """How many trades a status says are lost; 0 if it says nothing of the kind."""
    if reason != TRADES_LOST or detail is None:
        return 0
    found = _COUNT.match(detail)
    return int(found[1]) if found else 0
