"""One supervised process: what is said of it, and whom it listens to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from bus.clock import monotonic_ns
from bus.config.supervision import SupervisorSettings
from bus.supervision.events import Happening
from bus.supervision.generation import LastExit, Sender
from bus.supervision.plan import ProcessSpec
from bus.supervision.policy import Phase
from bus.supervision.spawn import Child
from bus.supervision.unit import Unit
from bus.testing import eventually
from bus.wire.link import Beat, Bye, Draining, LinkMessage, Ready, Stop

SPEC = ProcessSpec("feed.x", "feed", "bus.feeds", 2, feed="x")
SETTINGS = SupervisorSettings(backoff_first_s=0.01, backoff_cap_s=0.02)


class PretendedChild:
    """Has a pid, takes signals, and ends when the test says so."""

    pid = 42
    exit_code = None

    def __init__(self, on_exit: Callable[[int], None]) -> None:
        self.end = on_exit
        self.signals: list[str] = []

    def send(self, number: int) -> None:
        self.signals.append(str(number))

    def terminate(self) -> None:
        self.signals.append("terminate")

    def kill_group(self) -> None:
        self.signals.append("kill")


class PretendedGround:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.children: list[PretendedChild] = []
        self.told: list[Happening] = []
        self.calls: list[str] = []
        self.broken = False
        self.sent: list[tuple[int, LinkMessage]] = []
        self.unread: list[tuple[Unit, LinkMessage]] = []
        self.unfelt: list[Unit] = []

    def launch(self, spec: ProcessSpec, generation: int, on_exit: Callable[[int], None]) -> Child:
        if self.broken:
            raise OSError(12, "Cannot allocate memory")
        self.children.append(PretendedChild(on_exit))
        return self.children[-1]  # type: ignore[return-value]

    def send(self, sender: Sender, message: LinkMessage) -> bool:
        self.sent.append((sender.generation, message))
        return True

    def hear(self, sender: Sender) -> None:
        if self.unread:
            unit, message = self.unread.pop(0)
            unit.heard(sender, message)

    def feel_pulses(self) -> None:
        if self.unfelt:
            self.unfelt.pop(0).felt(self.sender(1), monotonic_ns())

    def gone(self, unit: Unit) -> None:
        self.calls.append("gone")

    def ended(self, sender: Sender) -> None:
        self.calls.append(f"ended {sender.generation}")

    def log_tail(self, sender: Sender) -> list[str]:
        return [f"the last line of {sender.name}"]

    def served(self, unit: Unit) -> None:
        self.calls.append("served")

    def tell(self, happening: Happening) -> None:
        self.told.append(happening)

    def sender(self, generation: int) -> Sender:
        return Sender(SPEC.name, generation)


async def started() -> tuple[Unit, PretendedGround]:
    ground = PretendedGround()
    unit = Unit(SPEC, SETTINGS, ground)
    unit.start()
    assert unit.heard(ground.sender(1), Ready({"a": "b"}))
    return unit, ground


async def test_ready_is_heard_from_the_right_spawn_only() -> None:
    ground = PretendedGround()
    unit = Unit(SPEC, SETTINGS, ground)
    unit.start()
    for stranger in (Sender("feed.y", 1), Sender(SPEC.name, 2)):
        assert not unit.heard(stranger, Ready({}))
    assert unit.vitals.beat_at is None
    assert unit.heard(ground.sender(1), Ready({}))
    assert unit.phase is Phase.READY
    assert ground.calls == ["served"]


async def test_a_late_message_of_an_earlier_generation_is_not_heard() -> None:
    unit, ground = await started()
    ground.children[0].end(-9)
    await unit.until(lambda unit: unit.generation == 2, 5)
    assert not unit.heard(ground.sender(1), Beat(9, 0, 0.0))


async def test_the_last_exit_keeps_the_processs_own_words() -> None:
    unit, ground = await started()
    unit.heard(ground.sender(1), Bye(1, "the venue refuses us"))
    ground.children[0].end(1)
    assert unit.last_exit is not None
    assert unit.last_exit.in_words() == "code 1 (the venue refuses us)"
    assert ground.calls == ["served", "ended 1", "gone"]
    assert unit.last_exit.log_tail == ("the last line of feed.x",)


async def test_last_words_are_heard_that_nobody_has_read_yet() -> None:
    unit, ground = await started()
    ground.unread.append((unit, Bye(1, "the venue refuses us")))
    ground.children[0].end(1)
    assert unit.last_exit is not None
    assert unit.last_exit.line == "the venue refuses us"


async def test_nobody_is_judged_by_a_heartbeat_that_is_not_read_yet() -> None:
    ground = PretendedGround()
    unit = Unit(SPEC, replace(SETTINGS, hang_timeout_s=0.05), ground)
    unit.start()
    unit.heard(ground.sender(1), Ready({}))
    ground.unfelt += [unit] * 3
    await eventually(lambda: unit.phase is Phase.ABORTING)
    assert not ground.unfelt, "each time one was felt first"
    unit.stop()


async def test_a_heartbeat_counts_from_when_it_was_and_not_from_when_it_is_looked_at() -> None:
    unit, ground = await started()
    loop = asyncio.get_running_loop()
    begun = loop.time() - (unit.age_s() or 0.0)
    for at_s, counted in ((begun + 0.001, begun + 0.001), (begun - 9, begun), (9e9, loop.time())):
        unit.felt(ground.sender(1), int(at_s * 1e9))
        assert unit.state.deadline == pytest.approx(counted + SETTINGS.hang_timeout_s, abs=0.5)
        if at_s < begun + 1:
            assert unit.state.deadline == pytest.approx(counted + SETTINGS.hang_timeout_s, abs=1e-3)
    unit.felt(Sender(SPEC.name, 2), int(begun * 1e9))
    assert unit.state.deadline is not None
    assert unit.state.deadline > begun + SETTINGS.hang_timeout_s, "not of this generation"


async def test_rates_are_of_what_was_counted_whenever_that_is_read() -> None:
    unit, ground = await started()
    begun_ns = monotonic_ns()
    unit.heard(ground.sender(1), Beat(1, begun_ns, 0.0, {"messages_in": 100}))
    unit.felt(ground.sender(1), begun_ns + 1)
    unit.vitals.counted_at = (unit.vitals.counted_at or 0.0) - 4.0  # as if four seconds had passed
    unit.heard(ground.sender(1), Beat(5, monotonic_ns(), 0.0, {"messages_in": 500}))
    assert unit.vitals.rates["messages_in"] == pytest.approx(100.0, rel=0.1)


async def test_what_a_process_repeats_is_one_event() -> None:
    unit, ground = await started()
    unit.heard(Sender("feed.x", 1), Ready())
    for _ in range(3):
        assert unit.heard(Sender("feed.x", 1), Draining("tired"))
    assert [each.text for each in ground.told].count("draining: tired") == 1


async def test_it_is_said_what_happens() -> None:
    unit, ground = await started()
    ground.children[0].end(-9)
    await unit.until(lambda unit: unit.generation == 2, 5)
    assert [happening.kind for happening in ground.told] == ["ready", "exited", "restarting"]


async def test_what_cannot_be_started_is_tried_again() -> None:
    ground = PretendedGround()
    ground.broken = True
    unit = Unit(SPEC, SETTINGS, ground)
    unit.start()
    await eventually(lambda: unit.generation >= 3)
    assert unit.last_exit is not None
    assert "Cannot allocate memory" in unit.last_exit.in_words()
    ground.broken = False
    await eventually(lambda: unit.child is not None)


async def test_an_asked_for_stop_signals_once_and_is_quiet() -> None:
    unit, ground = await started()
    unit.stop()
    ground.children[0].end(0)
    assert ground.children[0].signals == ["terminate"]
    assert unit.phase is Phase.STOPPED
    assert [happening.kind for happening in ground.told] == ["ready", "stopped"]


async def test_when_all_goes_every_generation_is_told_that_nobody_follows() -> None:
    unit, ground = await started()
    rolling = asyncio.create_task(unit.succeed(5))
    await eventually(lambda: len(ground.children) == 2)
    unit.heard(ground.sender(2), Ready({}))
    await rolling
    unit.leave()
    assert ground.sent == [(2, Stop("down")), (1, Stop("down"))]
    assert [child.signals for child in ground.children] == [["terminate"], ["terminate"]]
    for child in ground.children:
        child.end(0)
    assert unit.phase is Phase.STOPPED
    unit.leave()
    assert len(ground.sent) == 2, "nobody is there to be told"


async def test_waiting_for_what_never_comes_ends() -> None:
    unit, _ = await started()
    assert not await unit.until(lambda unit: unit.phase is Phase.FATAL, 0.05)


async def test_two_may_wait_for_different_things() -> None:
    unit, ground = await started()
    first = asyncio.create_task(unit.until(lambda u: u.phase is Phase.STOPPING, 5))
    second = asyncio.create_task(unit.until(lambda u: u.phase is Phase.STOPPED, 5))
    await asyncio.wait([first], timeout=0.01)
    unit.stop()
    ground.children[0].end(0)
    assert await second
    first.cancel()


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (LastExit(0, None, "", "exited", 0), "code 0"),
        (LastExit(None, "SIGKILL", "", "hung", 0), "signal SIGKILL (hung)"),
        (LastExit(1, None, "port taken", "exited", 0), "code 1 (port taken)"),
    ],
)  # fmt: skip
def test_an_exit_in_words(last: LastExit, text: str) -> None:
    assert last.in_words() == text


async def test_a_successor_takes_over_only_once_it_serves() -> None:
    unit, ground = await started()
    rolling = asyncio.create_task(unit.succeed(5))
    await eventually(lambda: len(ground.children) == 2)
    assert unit.generation == 1, "the old one still has the role"
    assert unit.heard(ground.sender(1), Beat(2, 0, 0.0)), "and is still heard"
    assert unit.heard(ground.sender(2), Ready({"c": "d"}, ("verb",)))
    assert (unit.generation, unit.phase, unit.vitals.verbs) == (2, Phase.READY, ("verb",))
    assert ground.children[0].signals == ["terminate"]
    assert await rolling == ""
    assert unit.retiring, "the old one has not gone yet"
    assert not await unit.rid(0.01)
    ground.children[0].end(0)
    assert await unit.rid(5)
    assert (unit.phase, unit.state.restarts, unit.retiring) == (Phase.READY, 0, False)
    assert ground.calls == ["served", "served", "ended 1"], "the role was never empty"
    assert unit.last_exit is not None
    assert unit.last_exit.in_words() == "code 0 (restarted)"
    told = [(happening.kind, happening.text.partition(" after ")[0]) for happening in ground.told]
    assert told[1:2] + told[3:] == [
        ("starting", "starting generation 2 beside the one that serves, as asked for"),
        ("stopping", "generation 1 (pid 42) drains"),
        ("stopped", "generation 1 has drained and left"),
    ]


async def test_a_successor_that_ends_leaves_the_old_one_in_place() -> None:
    unit, ground = await started()
    rolling = asyncio.create_task(unit.succeed(5))
    await eventually(lambda: len(ground.children) == 2)
    unit.heard(ground.sender(2), Bye(1, "no memory"))
    ground.children[1].end(1)
    assert "no memory" in await rolling
    assert (unit.generation, unit.phase) == (1, Phase.READY)
    assert ground.children[0].signals == []


async def test_a_successor_that_is_never_ready_is_killed() -> None:
    unit, ground = await started()
    assert "not ready within" in await unit.succeed(0.05)
    assert ground.children[1].signals == ["kill"]
    assert (unit.generation, unit.phase) == (1, Phase.READY)


async def test_a_successor_takes_over_from_one_that_crashed_meanwhile() -> None:
    unit, ground = await started()
    rolling = asyncio.create_task(unit.succeed(5))
    await eventually(lambda: len(ground.children) == 2)
    ground.children[0].end(-9)
    assert unit.phase in (Phase.STARTING, Phase.BACKOFF)
    unit.heard(ground.sender(2), Ready({}))
    assert (unit.generation, unit.phase) == (2, Phase.READY)
    for child in ground.children[2:]:
        child.end(0)  # what was started for the crash is not needed any more
    assert await rolling == ""
    assert [child.pid for child in unit.children()] == [ground.children[1].pid]


async def test_a_stop_while_a_successor_starts_ends_both() -> None:
    unit, ground = await started()
    rolling = asyncio.create_task(unit.succeed(5))
    await eventually(lambda: len(ground.children) == 2)
    unit.stop()
    assert ground.children[1].signals == ["kill"]
    ground.children[1].end(-9)
    ground.children[0].end(0)
    assert await rolling != ""
    assert unit.phase is Phase.STOPPED
    assert unit.children() == []
