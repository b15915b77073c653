"""Big answers in helpings, fairly; and what has a time happens at it."""

from __future__ import annotations

import asyncio

from bus.clock import now_ns
from bus.testing import eventually
from bus.wsbridge.pacing import ADMITTED_PER_TURN, CROWD, Pacer


class Timed:
    """Something due at one time."""

    def __init__(self) -> None:
        self.next_ns: int | None = None
        self.ran: list[int] = []

    def run_due(self, now_ns: int) -> None:
        self.ran.append(now_ns)
        self.next_ns = None

    def admit(self, count: int, now_ns: int) -> bool:
        return False


class Client:
    """Someone with so many helpings waiting."""

    def __init__(self, name: str, helpings: int, log: list[str]) -> None:
        self.name, self.left, self.log = name, helpings, log

    def pump(self) -> bool:
        self.left -= 1
        self.log.append(self.name)
        return self.left > 0


async def test_helpings_go_round_and_the_loop_gets_its_turn(loop_kind: str) -> None:
    log: list[str] = []
    pacer = Pacer(Timed())
    clients = [Client(name, 500, log) for name in "abc"]
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        if any(client.left > 0 for client in clients):
            asyncio.get_running_loop().call_soon(count)

    count()
    for client in clients:
        pacer.pump(client)
    assert log == ["a"], "the first helping is at once; who comes later waits for his turn"
    await eventually(lambda: all(client.left == 0 for client in clients))
    assert turns > 1
    assert len(log) == 1500
    positions = {name: [i for i, one in enumerate(log) if one == name] for name in "abc"}
    assert abs(positions["a"][-1] - positions["c"][-1]) <= 4, "nobody waits for another's whole"
    pacer.close()


async def test_what_is_due_happens_and_not_before(loop_kind: str) -> None:
    timed = Timed()
    pacer = Pacer(timed)
    pacer.see_to_due()
    timed.next_ns = due_ns = now_ns() + 20_000_000
    pacer.see_to_due()
    pacer.see_to_due()
    await eventually(lambda: timed.ran)
    assert timed.ran[0] >= due_ns - 2_000_000
    assert len(timed.ran) == 1
    pacer.close()


async def test_who_has_left_is_not_pumped() -> None:
    log: list[str] = []
    pacer = Pacer(Timed())
    one, two = Client("a", 9, log), Client("b", 9, log)
    pacer.pump(one)
    pacer.pump(two)
    pacer.discard(one)
    pacer.discard(two)
    left = one.left
    await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, lambda: None), 5)
    assert (one.left, two.left) == (left, 9)


class Crowded(Timed):
    """Has so many answers put off; each of them takes a client so many helpings."""

    def __init__(self, put_off: int) -> None:
        super().__init__()
        self.put_off = put_off
        self.admitted: list[int] = []
        self.pacer = Pacer(self)
        self.most_at_once = 0
        self.log: list[str] = []

    def admit(self, count: int, now_ns: int) -> bool:
        assert count > 0, "asked only when there is room"
        count = min(count, self.put_off)
        self.put_off -= count
        for number in range(count):
            self.pacer.pump(Client(f"{self.put_off + number}", 3, self.log))
        self.admitted.append(count)
        self.most_at_once = max(self.most_at_once, len(self.pacer._waiting))
        return self.put_off > 0


async def test_a_crowd_is_answered_a_few_at_a_time_and_to_its_end(loop_kind: str) -> None:
    timed = Crowded(500)
    pacer = timed.pacer
    first = [Client(f"first{number}", 4, timed.log) for number in range(CROWD + 1)]
    for client in first:
        pacer.pump(client)
    assert pacer.is_crowded
    await eventually(lambda: timed.put_off == 0 and not pacer.is_crowded)
    assert sum(timed.admitted) == 500
    assert timed.most_at_once <= CROWD + ADMITTED_PER_TURN
    await eventually(lambda: not pacer._waiting)
    pacer.close()
