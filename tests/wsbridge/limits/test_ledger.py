"""What workers count together: exact under contention, and free again however a worker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from bus.testing import wait_until
from bus.wsbridge.limits.bucket import Rate
from bus.wsbridge.limits.ledger import KICKED, REPLACED, Ledger, LedgerError, Refusal
from tests.wsbridge.conftest import ROOT

T0_NS = 1_800_000_000_000_000_000
S = 1_000_000_000
MANY = Rate(1_000_000, S)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two workers of one host."""
    one, other = Ledger(tmp_path, "bridge.1"), Ledger(tmp_path, "bridge.2")
    yield one, other
    one.close()
    other.close()


def arrive(ledger: Ledger, address: str = "a", most: int = 2) -> int | Refusal:
    return ledger.arrive(address, most=most, rate=MANY, now_ns=T0_NS)


def test_connections_of_an_address_count_together(pair: tuple[Ledger, Ledger]) -> None:
    one, other = pair
    first = arrive(one)
    assert isinstance(first, int)
    assert isinstance(arrive(other), int)
    refused = arrive(one)
    assert isinstance(refused, Refusal)
    assert refused.limit == "connections_per_ip"
    assert isinstance(arrive(one, "b"), int)
    one.leave(first)
    assert isinstance(arrive(other), int)


def test_new_connections_have_a_rate(pair: tuple[Ledger, Ledger]) -> None:
    rate = Rate(3, 30 * S)
    for ledger in (pair[0], pair[1], pair[0]):
        number = ledger.arrive("a", most=100, rate=rate, now_ns=T0_NS)
        assert isinstance(number, int)
        ledger.leave(number)
    refused = pair[1].arrive("a", most=100, rate=rate, now_ns=T0_NS)
    assert refused == Refusal("new_connections_per_ip", 10)
    assert isinstance(pair[1].arrive("a", most=100, rate=rate, now_ns=T0_NS + 10 * S), int)


def test_the_oldest_of_a_user_makes_room_or_the_newest_is_refused(
    pair: tuple[Ledger, Ledger],
) -> None:
    one, other = pair
    numbers = [one.enter(), other.enter(), other.enter()]
    for ledger, number in zip((one, other, other), numbers, strict=True):
        assert ledger.identify(number, "u", most=2, newest_wins=True) is None
    assert one.ending() == [(numbers[0], REPLACED)]
    assert one.ending() == [], "told once"
    late = one.enter()
    refused = one.identify(late, "u", most=2, newest_wins=False)
    assert refused is not None
    assert refused.limit == "connections_per_user"
    assert other.ending() == []
    none = one.identify(late, "v", most=0, newest_wins=True)
    assert none is not None


def test_an_operator_ends_the_connections_of_a_user_everywhere(
    pair: tuple[Ledger, Ledger],
) -> None:
    numbers = []
    for ledger in pair:
        numbers.append(ledger.enter())
        ledger.identify(numbers[-1], "u", most=5, newest_wins=True)
    stranger = arrive(pair[0], "elsewhere")
    assert pair[0].kick(user="u") == 2
    assert [ledger.ending() for ledger in pair] == [[(number, KICKED)] for number in numbers]
    assert pair[1].kick(address="elsewhere") == 1
    assert pair[0].ending() == [(stranger, KICKED)]


def test_requests_of_a_user_count_together(pair: tuple[Ledger, Ledger]) -> None:
    waits = [pair[n % 2].act("u", 30, T0_NS) for n in range(31)]
    assert waits[:30] == [0] * 30
    assert waits[30] == 2 * S
    assert pair[0].act("v", 30, T0_NS) == 0


def test_a_ticket_is_used_once_and_forgotten_after_its_end(pair: tuple[Ledger, Ledger]) -> None:
    one, other = pair
    until_s = T0_NS / S + 90
    assert one.use_ticket("t", until_s, T0_NS)
    assert not other.use_ticket("t", until_s, T0_NS)
    other.tend(T0_NS + 89 * S)
    assert not one.use_ticket("t", until_s, T0_NS)
    other.tend(T0_NS + 150 * S)
    assert one.counts()["tickets"] == 0


def test_no_more_tickets_are_taken_than_can_be_remembered(
    pair: tuple[Ledger, Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.wsbridge.limits.ledger.MAX_TICKETS", 3)
    for number in range(3):
        assert pair[0].use_ticket(f"t{number}", T0_NS / S + number, T0_NS)
    with pytest.raises(LedgerError, match="too many tickets"):
        pair[1].use_ticket("t3", T0_NS / S + 60, T0_NS - S)
    assert pair[1].use_ticket("t3", T0_NS / S + 60, T0_NS + S), "those that ended make room"


CHILD = """
import sys
from pathlib import Path
from bus.wsbridge.limits.bucket import Rate
from bus.wsbridge.limits.ledger import Ledger, LedgerError
ledger = Ledger(Path(sys.argv[1]), "bridge.9")
rate = Rate(1_000_000, 1_000_000_000)
count = 0
while True:
    try:
        found = ledger.arrive("a", most=int(sys.argv[2]), rate=rate, now_ns=1)
    except LedgerError:  # the others were faster for a tenth of a second
        continue
    if not isinstance(found, int):
        break
    count += 1
print(count, flush=True)
sys.stdin.read()
"""


def child(path: Path, most: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), str(most)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_workers_that_compete_never_give_away_a_place_twice_and_a_killed_one_gives_all_back(
    tmp_path: Path,
) -> None:
    workers = [child(tmp_path, 500) for _ in range(3)]
    ledger = Ledger(tmp_path, "bridge.1")
    try:
        counts = []
        for worker in workers:
            assert worker.stdout is not None
            counts.append(int(worker.stdout.readline()))
        assert sum(counts) == 500
        assert ledger.counts() == {"connections": 500, "users": 0, "workers": 4, "tickets": 0}
        assert isinstance(arrive(ledger, most=500), Refusal)
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait(10)
        assert isinstance(arrive(ledger, most=500 if counts[0] else 501), int)
        for worker in workers[1:]:
            worker.send_signal(signal.SIGKILL)
            worker.wait(10)
        ledger.tend(T0_NS)
        wait_until(lambda: ledger.counts()["workers"] == 1, 10, "the dead are cleared away")
        assert ledger.counts()["connections"] == 1
        assert len(list(tmp_path.glob("bridge.*.lock"))) == 1
    finally:
        ledger.close()
        for worker in workers:
            worker.kill()
            worker.communicate()


COMER_AND_GOER = """
import sys
from pathlib import Path
from bus.wsbridge.limits.ledger import Ledger
for _ in range(40):
    ledger = Ledger(Path(sys.argv[1]), "bridge.8")
    assert ledger.act("u", 1_000_000, 1) == 0
    ledger.close()
"""


def test_workers_may_come_and_go_at_the_same_time(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMER_AND_GOER, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ends


def test_what_cannot_be_asked_is_an_error_of_its_own(pair: tuple[Ledger, Ledger]) -> None:
    one, other = pair
    with one._change():
        with pytest.raises(LedgerError, match="locked"):
            arrive(other)
        with pytest.raises(LedgerError):
            other.use_ticket("t", T0_NS, T0_NS)
        number = 7
        other.leave(number)  # is kept for later
    assert isinstance(arrive(other), int)


def test_a_place_that_could_not_be_given_back_is_given_back_later(
    pair: tuple[Ledger, Ledger],
) -> None:
    one, other = pair
    number = arrive(other, most=1)
    assert isinstance(number, int)
    with one._change():
        other.leave(number)
    other.tend(T0_NS)
    assert isinstance(arrive(one, most=1), int)


def test_a_ledger_that_is_none_or_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database at all, not even nearly one\n" * 99)
    with pytest.raises(LedgerError, match="cannot use the ledger"):
        Ledger(tmp_path, "bridge.1")
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        Ledger(tmp_path / "file", "bridge.1")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    for directory in (tmp_path / "open", tmp_path / "open" / "below"):
        with pytest.raises(LedgerError, match="this user alone"):
            Ledger(directory, "bridge.1")


class LedgerMachine(RuleBasedStateMachine):
    """Any order of comings and goings on two workers, against plain dictionaries."""

    numbers = Bundle("numbers")
    directory: Path

    def __init__(self) -> None:
        super().__init__()
        self.ledgers = [Ledger(self.directory, f"bridge.{n}") for n in range(2)]
        self.owner: dict[int, tuple[int, str]] = {}
        self.users: dict[int, str] = {}
        self.ended: set[int] = set()

    @rule(target=numbers, worker=st.integers(0, 1), address=st.sampled_from("ab"))
    def arrive(self, worker: int, address: str) -> int:
        there = sum(1 for n, (_, a) in self.owner.items() if a == address and n not in self.ended)
        found = arrive(self.ledgers[worker], address, most=3)
        assert isinstance(found, int) is (there < 3)
        if isinstance(found, int):
            self.owner[found] = (worker, address)
            return found
        return -1

    @rule(number=numbers, user=st.sampled_from("uv"), newest=st.booleans())
    def identify(self, number: int, user: str, newest: bool) -> None:
        if number not in self.owner or number in self.users or number in self.ended:
            return
        others = sorted(n for n, u in self.users.items() if u == user and n not in self.ended)
        found = self.ledgers[self.owner[number][0]].identify(
            number, user, most=2, newest_wins=newest
        )
        if len(others) >= 2 and not newest:
            assert found is not None
            return
        assert found is None
        self.ended |= set(others[: max(0, len(others) - 1)])
        self.users[number] = user

    @rule(number=consumes(numbers))
    def leave(self, number: int) -> None:
        if number in self.owner:
            self.ledgers[self.owner[number][0]].leave(number)
            del self.owner[number]
            self.users.pop(number, None)
            self.ended.discard(number)

    @rule(worker=st.integers(0, 1))
    def end(self, worker: int) -> None:
        told = {number for number, _ in self.ledgers[worker].ending()}
        assert told == {n for n in self.ended if self.owner[n][0] == worker}
        for number in told:
            del self.owner[number]
            self.users.pop(number, None)
            self.ended.discard(number)

    @invariant()
    def nobody_has_more_than_allowed(self) -> None:
        assert self.ledgers[0].counts()["connections"] == len(self.owner.keys() - self.ended)

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()


def test_any_order_of_comings_and_goings(tmp_path: Path) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    class Machine(LedgerMachine):
        directory = tmp_path

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None)
    )
