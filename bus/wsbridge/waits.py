"""Requests that wait for the first values of their topics, and topics that are still owed.

Pure bookkeeping: what is missing for whom. A request waits until all its topics are warm, and until
this bridge has seen as much of a topic as a returning client says it has (``since``), or until its
deadline. A topic that is cold even then is *owed*. When too many others are being answered, a
request is *put off*: it has not been begun and holds nothing yet. Bounds: one waiting request a
client, one debt a client and topic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from bus.wsbridge.steps import Attach, Wanted

ClientT = TypeVar("ClientT")


@dataclass(slots=True, eq=False)
class Wait(Generic[ClientT]):
    """A request that cannot be completed yet: cold topics, and those this bridge is behind on."""

    client: ClientT
    attach: Attach
    cold: set[bytes]
    deadline_ns: int
    behind: dict[str, Wanted] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing is missing any more."""
        return not self.cold and not self.behind


class Waits(Generic[ClientT]):
    """See the module. ``is_behind(wanted)`` tells whether a client has seen more than we have."""

    def __init__(self, is_behind: Callable[[Wanted], bool]) -> None:
        self._is_behind = is_behind
        self._of: dict[ClientT, Wait[ClientT]] = {}
        self._behind: dict[Wait[ClientT], None] = {}
        self._for: dict[bytes, dict[Wait[ClientT], None]] = {}
        self._put_off: dict[ClientT, Attach] = {}
        self._debts: dict[ClientT, dict[str, Wanted]] = {}
        self._debtors: dict[bytes, dict[ClientT, None]] = {}

    # ------------------------------------------------------------------ waiting requests

    def __contains__(self, client: ClientT) -> bool:
        return client in self._of or client in self._put_off

    @property
    def has_behind(self) -> bool:
        """Whether any request waits for this bridge to catch up with its client."""
        return bool(self._behind)

    def add(self, client: ClientT, attach: Attach, cold: set[bytes], deadline_ns: int) -> None:
        """The request waits. With nothing cold it waits for us to catch up."""
        wait = Wait(client, attach, cold, deadline_ns)
        self._of[client] = wait
        self._compare(wait, attach.wanted)
        for key in cold:
            self._for.setdefault(key, {})[wait] = None

    def gone(self, client: ClientT) -> Wait[ClientT] | None:
        """The client has left; the request it was waiting for, if that has been begun."""
        self._put_off.pop(client, None)
        wait = self._of.get(client)
        if wait is not None:
            self.forget(wait)
        return wait

    def forget(self, wait: Wait[ClientT]) -> bool:
        """It waits no more; whether it still did."""
        if self._of.get(wait.client) is not wait:
            return False
        del self._of[wait.client]
        self._behind.pop(wait, None)
        for key in wait.cold:
            waiting = self._for.get(key)
            if waiting is not None:
                waiting.pop(wait, None)
                if not waiting:
                    del self._for[key]
        return True

    def _compare(self, wait: Wait[ClientT], topics: Iterable[Wanted]) -> None:
        """Note on which of these topics this bridge is behind."""
        wait.behind |= {one.topic.name: one for one in topics if self._is_behind(one)}
        if wait.behind:
            self._behind[wait] = None

    def warmed(self, key: bytes) -> list[Wait[ClientT]]:
        """A topic has turned warm; the requests that miss nothing any more."""
        over: list[Wait[ClientT]] = []
        for wait in self._for.pop(key, {}):
            wait.cold.discard(key)
            self._compare(wait, (one for one in wait.attach.wanted if one.topic.bus_key == key))
            if wait.is_over:
                over.append(wait)
        return over

    def caught_up(self) -> list[Wait[ClientT]]:
        """The requests that only missed what has come meanwhile."""
        over: list[Wait[ClientT]] = []
        for wait in list(self._behind):
            wait.behind = {n: w for n, w in wait.behind.items() if self._is_behind(w)}
            if not wait.behind:
                del self._behind[wait]
                if wait.is_over:
                    over.append(wait)
        return over

    def overdue(self, now_ns: int) -> list[Wait[ClientT]]:
        """The requests that have waited long enough."""
        return [wait for wait in self._of.values() if wait.deadline_ns <= now_ns]

    # ------------------------------------------------------------------ put off

    @property
    def has_put_off(self) -> bool:
        """Whether any request waits for others to be answered."""
        return bool(self._put_off)

    def put_off(self, client: ClientT, attach: Attach) -> None:
        """The request has not been begun: too many others are being answered."""
        self._put_off[client] = attach

    def take_put_off(self, count: int) -> dict[ClientT, Attach]:
        """Up to ``count`` of these, those who have waited longest; they wait no more."""
        taken = dict(islice(self._put_off.items(), count))
        for client in taken:
            del self._put_off[client]
        return taken

    # ------------------------------------------------------------------ debts

    def owe(self, client: ClientT, wanted: Wanted) -> None:
        """The topic comes when it is warm."""
        self._debts.setdefault(client, {})[wanted.topic.name] = wanted
        self._debtors.setdefault(wanted.topic.bus_key, {})[client] = None

    def cancel(self, client: ClientT, name: str) -> Wanted | None:
        """The client is owed ``name`` no more; what was owed."""
        debts = self._debts.get(client)
        wanted = None if debts is None else debts.pop(name, None)
        if debts is None or wanted is None:
            return None
        key = wanted.topic.bus_key
        if not debts:
            del self._debts[client]
        if not any(other.topic.bus_key == key for other in debts.values()):
            debtors = self._debtors.get(key)
            if debtors is not None:
                debtors.pop(client, None)
                if not debtors:
                    del self._debtors[key]
        return wanted

    def is_owed(self, client: ClientT, wanted: Wanted) -> bool:
        """Whether it still is."""
        return self._debts.get(client, {}).get(wanted.topic.name) is wanted

    def owed_to(self, client: ClientT) -> Iterable[str]:
        """The names a client is owed."""
        return list(self._debts.get(client, ()))

    def due(self, key: bytes) -> list[tuple[ClientT, Wanted]]:
        """Who is owed what, now that a topic is warm."""
        return [
            (client, wanted)
            for client in list(self._debtors.get(key, ()))
            for wanted in list(self._debts.get(client, {}).values())
            if wanted.topic.bus_key == key
        ]

    def expecting(self, key: bytes) -> list[ClientT]:
        """Whose request waits for a topic, and who is owed it."""
        return [*(wait.client for wait in self._for.get(key, ())), *self._debtors.get(key, ())]
