"""Clients and open files."""

from __future__ import annotations

import resource

import pytest

from bus.wsbridge.capacity import OTHER_FILES, Capacity, capacity, capacity_here, files_allowed


@pytest.mark.parametrize(
    ("wanted", "files", "expected"),
    [
        (10_000, 1_048_576, Capacity(10_000, 10_000)),
        (10_100, 20_000, Capacity(10_100, 5_800)),
        (10_000, 4_096, Capacity(3_176, 0)),
        (2_000, 4_096, Capacity(2_000, 1_176)),
        (10, 1_024, Capacity(10, 10)),
        (10_000, 64, Capacity(1, 0)),
    ],
)
def test_what_is_wanted_or_what_fits(wanted: int, files: int, expected: Capacity) -> None:
    assert capacity(wanted, files) == expected
    most_files = sum(expected) + OTHER_FILES
    assert most_files < files * 9 // 10 or expected.clients == 1, "the supervisor need not act"


def test_the_limit_is_the_one_in_force() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        assert files_allowed() == 512
        assert (capacity_here(10).clients, capacity_here(1_000).clients) == (10, 309)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
