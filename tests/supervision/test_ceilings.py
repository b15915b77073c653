"""When a process takes too much: patience, then a replacement; far too much, at once."""

from __future__ import annotations

import pytest

from bus.supervision.ceilings import PATIENCE, Ceilings, Limits, fd_ceiling

MIB = 1024 * 1024
LIMITS = Limits(rss_bytes=100 * MIB, fds=50)


def test_nothing_is_done_below_the_ceilings() -> None:
    ceilings = Ceilings()
    assert all(ceilings.look("a", 99 * MIB, 49, LIMITS) is None for _ in range(10))


@pytest.mark.parametrize(
    ("rss_mib", "fds", "text"),
    [
        (100, 0, "takes 100 MiB of memory, the ceiling is 100 MiB"),
        (1, 50, "has 50 descriptors open, the ceiling is 50"),
    ],
)
def test_over_a_ceiling_for_some_looks_in_a_row(rss_mib: int, fds: int, text: str) -> None:
    ceilings = Ceilings()
    for _ in range(PATIENCE - 1):
        assert ceilings.look("a", rss_mib * MIB, fds, LIMITS) is None
    excess = ceilings.look("a", rss_mib * MIB, fds, LIMITS)
    assert excess is not None
    assert (excess.text, excess.at_once) == (text, False)
    assert ceilings.look("a", rss_mib * MIB, fds, LIMITS) is None, "counting begins anew"


def test_one_look_below_begins_anew() -> None:
    ceilings = Ceilings()
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            assert ceilings.look("a", 120 * MIB, 0, LIMITS) is None
        assert ceilings.look("a", 1, 0, LIMITS) is None


def test_processes_are_counted_apart_and_forgotten() -> None:
    ceilings = Ceilings()
    for _ in range(PATIENCE - 1):
        ceilings.look("a", 120 * MIB, 0, LIMITS)
        assert ceilings.look("b", 1, 0, LIMITS) is None
    ceilings.forget("a")
    assert ceilings.look("a", 120 * MIB, 0, LIMITS) is None


def test_far_over_is_not_waited_for() -> None:
    excess = Ceilings().look("a", 150 * MIB, 0, LIMITS)
    assert excess is not None
    assert excess.at_once


def test_no_ceiling_is_never_reached() -> None:
    ceilings = Ceilings()
    none = Limits(0, 0)
    assert all(ceilings.look("a", 10**15, 10**9, none) is None for _ in range(5))


@pytest.mark.parametrize(("configured", "allowed", "ceiling"), [(0, 1000, 900), (70, 1000, 70)])
def test_the_ceiling_of_descriptors(configured: int, allowed: int, ceiling: int) -> None:
    assert fd_ceiling(configured, allowed) == ceiling
