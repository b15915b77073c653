"""How far a socket is behind, against what was written when and taken when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.pressure import Pressure

LOOK_NS = 50


def test_the_oldest_byte_has_an_age_and_progress_a_time() -> None:
    pressure = Pressure()
    pressure.written_bytes = 100
    pressure.began(100, 0)
    for now_ns in (50, 100):
        pressure.look(100, now_ns)
    assert (pressure.age_ns(100), pressure.stuck_ns(100)) == (100, 100)
    pressure.written_bytes = 180
    pressure.look(120, 150)  # 60 were taken
    assert (pressure.age_ns(150), pressure.stuck_ns(150)) == (150, 0)
    pressure.look(70, 200)  # of the first hundred nothing is left
    assert (pressure.age_ns(200), pressure.stuck_ns(200)) == (50, 0)
    pressure.look(0, 250)
    assert pressure.age_ns(250) == 0


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=60))
def test_the_age_is_true_to_within_one_look(steps: list[tuple[int, int]]) -> None:
    pressure = Pressure()
    waiting: list[list[int]] = []  # [bytes, when written]
    began = False
    for index, (written, taken) in enumerate(steps):
        now_ns = index * LOOK_NS
        if written:
            pressure.written_bytes += written
            waiting.append([written, now_ns])
        left = taken
        while left and waiting:
            part = min(left, waiting[0][0])
            waiting[0][0] -= part
            left -= part
            if not waiting[0][0]:
                waiting.pop(0)
        buffered = sum(size for size, _ in waiting)
        if not began and buffered:
            pressure.began(buffered, now_ns)
            began = True
        elif began:
            pressure.look(buffered, now_ns)
        if began:
            exact = now_ns - waiting[0][1] if waiting else 0
            assert abs(pressure.age_ns(now_ns) - exact) <= LOOK_NS
