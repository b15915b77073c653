"""Clients and open files."""

from __future__ import annotations

import resource

import pytest

from bus.wsbridge.capacity import capacity_here, client_capacity, files_allowed


@pytest.mark.parametrize(
    ("wanted", "files", "capacity"),
    [
        (10_000, 1_048_576, 10_000),
        (10_000, 4_096, 1_588),
        (10_000, 1_024, 359),
        (10, 1_024, 10),
        (10_000, 64, 1),
    ],
)
def test_what_is_wanted_or_what_fits(wanted: int, files: int, capacity: int) -> None:
    assert client_capacity(wanted, files) == capacity
    most_files = 2 * capacity + 100
    assert most_files < files * 9 // 10 or capacity == 1, "the supervisor sees no reason to act"


def test_the_limit_is_the_one_in_force() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    try:
        assert files_allowed() == 512
        assert (capacity_here(10), capacity_here(1_000)) == (10, 154)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
