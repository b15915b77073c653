"""Half a minute under fire: kills, stops, reloads of everything, with consumers attached."""

from __future__ import annotations

import pytest

from bench.soak import main


def test_a_bus_under_fire_comes_back_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "30", "--quiet"]) == 0, capsys.readouterr().out
