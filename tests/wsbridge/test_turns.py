"""The bridge's turns: one fault stops nothing else, and a long job nobody."""

from __future__ import annotations

import asyncio

from bus.testing import eventually
from bus.wsbridge.faults import Faults
from bus.wsbridge.turns import Job, Turns


async def test_a_job_that_fails_stops_neither_the_others_nor_the_next_turn(loop_kind: str) -> None:
    counts = {"every": 0, "third": 0, "broken": 0}

    def broken() -> None:
        counts["broken"] += 1
        raise ValueError("broken")

    def count(name: str) -> None:
        counts[name] += 1

    faults = Faults()
    jobs = [Job(broken), Job(lambda: count("every")), Job(lambda: count("third"), 3)]
    turns = Turns(jobs, faults)
    turns.start()
    await eventually(lambda: counts["third"] == 2)
    assert counts["every"] == 6
    assert counts["broken"] == faults.count == 6
    turns.close()
    assert turns.worst_lag_s >= 0
    turns.take_worst_lag_s()
    assert turns.worst_lag_s == 0
    assert turns._timer is not None
    assert turns._timer.cancelled()


async def test_a_job_with_much_to_do_lets_everybody_else_in_between(loop_kind: str) -> None:
    left, order = 5, []

    def much() -> bool:
        nonlocal left
        left -= 1
        order.append("some")
        asyncio.get_running_loop().call_soon(order.append, "other")
        return left > 0

    turns = Turns([Job(much, every=2)], Faults())
    turns.start()
    await eventually(lambda: left <= 0)
    turns.close()
    assert order[:9] == ["some", "other"] * 4 + ["some"]


async def test_between_two_jobs_everybody_else_gets_a_turn(loop_kind: str) -> None:
    order: list[str] = []

    def job(name: str) -> None:
        order.append(name)
        asyncio.get_running_loop().call_soon(order.append, f"after {name}")

    turns = Turns([Job(lambda: job("one")), Job(lambda: job("two"))], Faults())
    turns.start()
    await eventually(lambda: len(order) >= 4)
    turns.close()
    assert order[:4] == ["one", "after one", "two", "after two"]


async def test_what_is_unfinished_ends_with_the_turns(loop_kind: str) -> None:
    count = 0

    def endless() -> bool:
        nonlocal count
        count += 1
        if count == 3:
            turns.close()
        return True

    turns = Turns([Job(endless)], Faults())
    turns.start()
    await eventually(lambda: count >= 3)
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, over.set)
    await over.wait()
    assert count == 3
