"""One line in ten seconds a key, and the next one tells what was held back."""

from __future__ import annotations

from bus.feeds.log_limit import INTERVAL_NS, LogLimit


def test_lines_in_between_are_held_back_and_counted() -> None:
    lines: list[tuple[str, object]] = []
    limit = LogLimit(lambda event, **fields: lines.append((event, fields["held_back"])))
    for at in range(5):
        limit(at, "json", "bad")
    limit(INTERVAL_NS, "json", "bad")
    assert lines == [("bad", 0), ("bad", 4)]


def test_keys_have_intervals_of_their_own() -> None:
    lines: list[str] = []
    limit = LogLimit(lambda event, **fields: lines.append(event))
    limit(0, "a", "first")
    limit(0, "b", "second")
    assert lines == ["first", "second"]


def test_endless_new_keys_share_one() -> None:
    lines: list[str] = []
    limit = LogLimit(lambda event, **fields: lines.append(event), max_keys=3)
    for key in range(100):
        limit(0, str(key), "bad")
    assert len(lines) == 4
