"""Epochs only grow, whatever the clock does and whoever asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import BusError
from bus.runtime.epoch import FILE_NAME, MAX_EPOCH, next_epoch

MS = 1_000_000
NOW_NS = 1_769_596_201_000 * MS


def test_it_is_the_time_of_the_start(tmp_path: Path) -> None:
    assert next_epoch(tmp_path, NOW_NS) == 1_769_596_201_000
    assert next_epoch(tmp_path, NOW_NS + 5_000 * MS) == 1_769_596_206_000


def test_a_clock_set_back_by_an_hour_makes_the_next_one_greater_all_the_same(
    tmp_path: Path,
) -> None:
    first = next_epoch(tmp_path, NOW_NS)
    assert next_epoch(tmp_path, NOW_NS - 3_600_000 * MS) == first + 1
    assert next_epoch(tmp_path, NOW_NS) == first + 2, "two in one millisecond differ as well"


@pytest.mark.parametrize("content", ["", "garbage", "-5", "٣", "9" * 31, str(MAX_EPOCH)])
def test_a_file_that_holds_no_epoch_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    assert next_epoch(tmp_path, NOW_NS) == 1_769_596_201_000
    assert next_epoch(tmp_path, 0) == 1_769_596_201_001


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.lists(st.integers(0, 4_000_000_000_000), min_size=2, max_size=20))
def test_they_grow_in_the_order_of_the_calls(tmp_path: Path, clock_ms: list[int]) -> None:
    given_out = [next_epoch(tmp_path, ms * MS) for ms in clock_ms]
    assert given_out == sorted(set(given_out))
    assert all(epoch >= ms for epoch, ms in zip(given_out, clock_ms, strict=True))


def test_processes_that_ask_at_once_get_different_ones(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from bus.runtime.epoch import next_epoch\n"
        f"print([next_epoch(Path(sys.argv[1]), {NOW_NS}) for _ in range(200)])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    lists = [eval(process.communicate(timeout=30)[0]) for process in running]
    assert len({epoch for one in lists for epoch in one}) == 600
    assert all(one == sorted(one) for one in lists)


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="epoch: No such file"):
        next_epoch(tmp_path / "gone" / "too", NOW_NS)
