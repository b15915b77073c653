"""The served JavaScript client as a Node process, and what it has seen."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.wsbridge.conftest import ROOT

SCRIPT = Path(__file__).with_name("reconnecting.mjs")
CLIENT = ROOT / "bus" / "wsbridge" / "page" / "mdbus.js"


class Follower:
    """One client. ``said`` grows while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.said: list[dict[str, Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self.said.append(json.loads(line))

    def wish(self, **what: Any) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The messages of a type."""
        return [one for one in self.said if one.get("type") == kind]

    def seqs(self, topic: str) -> list[int]:
        """The ``seq`` of each message of a topic with data that is no snapshot."""
        return [
            one["seq"]
            for one in self.said
            if one.get("topic") == topic and "seq" in one and not one.get("snapshot")
        ]

    def last(self, topic: str) -> int:
        """The last of them; 0 before the first."""
        for one in reversed(self.said):
            if one.get("topic") == topic and "seq" in one:
                return int(one["seq"])
        return 0

    @property
    def states(self) -> list[str]:
        """The states it told, in order."""
        return [one["state"] for one in self.said if set(one) == {"state"}]

    @property
    def acks(self) -> list[dict[str, Any]]:
        """The acknowledgements of ``subscribe``."""
        return [one for one in self.of("subscription") if one["action"] == "subscribed"]

    async def end(self) -> None:
        """Have it close; read it to its end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await asyncio.wait_for(self._process.wait(), 20)
        await self._reading


@asynccontextmanager
async def following(node: list[str], url: str, *topics: str) -> AsyncIterator[Follower]:
    """A client that follows topics; it is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *node, str(SCRIPT), str(CLIENT), url, *topics,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    follower = Follower(process)
    try:
        yield follower
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await follower._reading


def is_whole(seqs: list[int]) -> bool:
    """Whether nothing is missing, twice or out of order."""
    return seqs == list(range(seqs[0], seqs[0] + len(seqs)))


def is_newer_each_time(seqs: list[int]) -> bool:
    """Whether nothing is twice or out of order: all that is promised of a state topic, whose
    newest value may stand for those before it when its client is behind."""
    return all(before < after for before, after in itertools.pairwise(seqs))
