"""What the feeds' data is worth, from what their heartbeats say of it. Pure.

A process may be as healthy as can be while its venue does not deliver: `healthy` judges processes,
and this their data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

AT_REST: Final = ("live", "closed")
"""The states that are nobody's fault: ``closed`` is a market that is shut, by its calendar."""
UNKNOWN: Final[Mapping[str, Any]] = {"live": True, "feeds": ()}
"""Of a supervisor that is older than this, and says nothing of data."""
_MOST_NAMED: Final = 4


def data_of(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``{"live", "feeds"}``, of the processes as ``status`` lists them: ``name``,
    ``kind``, ``state``, ``wanted`` and ``counters`` are looked at.

    ``feeds`` has ``name``, ``state`` and ``reason`` of each feed that is wanted, as in
    ``sys/status/<feed>/``: ``down`` for ``process`` when it does not serve, and ``connecting``
    until its first heartbeat. ``live`` is whether all of them are `AT_REST`.
    """
    feeds = [_feed(row) for row in processes if row["kind"] == "feed" and row["wanted"]]
    return {"live": all(feed["state"] in AT_REST for feed in feeds), "feeds": feeds}


def data_problems(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """``{"name", "reason"}`` of each feed whose data is neither live nor at rest."""
    return [
        {"name": feed["name"], "reason": f"data is {_state(feed)}"}
        for feed in data["feeds"]
        if feed["state"] not in AT_REST
    ]


def data_in_words(data: Mapping[str, Any]) -> str:
    """``binance down (dns_failure), kraken stale``: the feeds that are not live, some by name;
    empty when all of them are.
    """
    odd = [feed for feed in data["feeds"] if feed["state"] != "live"]
    named = [f"{feed['name'].removeprefix('feed.')} {_state(feed)}" for feed in odd[:_MOST_NAMED]]
    more = [f"{len(odd) - _MOST_NAMED} more"] if len(odd) > _MOST_NAMED else []
    return ", ".join(named + more)


def _feed(row: Mapping[str, Any]) -> dict[str, str]:
    counters = row.get("counters", {})
    if row["state"] != "ready":
        return {"name": row["name"], "state": "down", "reason": "process"}
    return {
        "name": row["name"],
        "state": str(counters.get("state", "connecting")),
        "reason": str(counters.get("reason", "")),
    }


def _state(feed: Mapping[str, str]) -> str:
    plain = feed["reason"] in ("", feed["state"])
    return feed["state"] if plain else f"{feed['state']} ({feed['reason']})"
