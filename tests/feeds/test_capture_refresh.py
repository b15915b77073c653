"""Every new file of a capture has the books whole, and small files make no storm."""

from __future__ import annotations

from bus.feeds.capture_refresh import EVERY_S, CaptureRefresh


def test_the_first_file_needs_nothing_and_each_further_one_once() -> None:
    refresh = CaptureRefresh()
    assert [refresh.due(files, 100.0) for files in (0, 1, 2, 2)] == [False, False, True, False]
    assert refresh.due(3, 100.0 + EVERY_S)


def test_files_in_quick_succession_are_answered_together() -> None:
    refresh = CaptureRefresh()
    assert refresh.due(2, 100.0)
    assert not refresh.due(9, 100.0 + EVERY_S / 2)
    assert refresh.due(9, 100.0 + EVERY_S)
    assert not refresh.due(9, 100.0 + 2 * EVERY_S)
