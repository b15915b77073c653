"""Names of capture files, when a new one begins, and which go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.capture.files import HOUR_NS, Kept, file_path, is_due, to_delete

AT_NS = 1_723_161_253_000_000_000  # 2024-08-08 23:54:13 UTC


def test_a_file_is_named_after_its_feed_and_its_beginning() -> None:
    assert file_path("binance", AT_NS, 3) == "2024-08-08/binance-235413-0003.mdcap"


@given(st.integers(0, 2**61), st.integers(0, 2**61))
def test_names_sort_as_they_began(first_ns: int, second_ns: int) -> None:
    first, second = sorted((first_ns, second_ns))
    assert file_path("f", first, 1) <= file_path("f", second, 1)


def test_a_new_file_begins_with_the_hour_or_when_the_old_one_is_full() -> None:
    hour_ns = AT_NS // HOUR_NS * HOUR_NS
    assert not is_due(hour_ns, 99, hour_ns + HOUR_NS - 1, 100)
    assert is_due(hour_ns, 99, hour_ns + HOUR_NS, 100)
    assert is_due(hour_ns, 100, hour_ns + 1, 100)
    assert is_due(hour_ns, 1, hour_ns - 1, 100), "the clock was set back over the hour"


@given(
    st.lists(st.builds(Kept, st.uuids().map(str), st.integers(0, 1_000)), max_size=20),
    st.integers(0, 2_000),
    st.integers(0, 10_000),
)
def test_the_oldest_go_and_no_more_than_needed(kept: list[Kept], open_: int, most: int) -> None:
    gone = to_delete(kept, open_, most)
    assert gone == sorted(kept)[: len(gone)]
    left = open_ + sum(file.size_bytes for file in kept) - sum(file.size_bytes for file in gone)
    assert left <= most or len(gone) == len(kept)
    assert not gone or left + gone[-1].size_bytes > most
